-- One table for each collection: the document as JSON text, and the unique keys as indexes on expressions.
CREATE TABLE manifests (id TEXT PRIMARY KEY NOT NULL, doc TEXT NOT NULL CHECK (json_valid(doc)));
CREATE UNIQUE INDEX manifests_batch_id ON manifests (doc ->> '$.batch_id');
CREATE INDEX manifests_status ON manifests (doc ->> '$.status', id);

CREATE TABLE rejected_manifests (id TEXT PRIMARY KEY NOT NULL, doc TEXT NOT NULL CHECK (json_valid(doc)));
CREATE UNIQUE INDEX rejected_manifests_object ON rejected_manifests (doc ->> '$.s3_key', doc ->> '$.etag');

CREATE TABLE runs (id TEXT PRIMARY KEY NOT NULL, doc TEXT NOT NULL CHECK (json_valid(doc)));
CREATE UNIQUE INDEX runs_dagster_run_id ON runs (doc ->> '$.dagster_run_id');

CREATE TABLE assets (id TEXT PRIMARY KEY NOT NULL, doc TEXT NOT NULL CHECK (json_valid(doc)));
CREATE UNIQUE INDEX assets_s3_key ON assets (doc ->> '$.s3_key');
CREATE UNIQUE INDEX assets_version ON assets (doc ->> '$.dataset_id', doc ->> '$.version');
CREATE UNIQUE INDEX assets_output ON assets (doc ->> '$.dagster_run_id', doc ->> '$.output');

CREATE TABLE datasets (id TEXT PRIMARY KEY NOT NULL, doc TEXT NOT NULL CHECK (json_valid(doc)));
CREATE UNIQUE INDEX datasets_dataset_id ON datasets (doc ->> '$.dataset_id');

CREATE TABLE lineage (id TEXT PRIMARY KEY NOT NULL, doc TEXT NOT NULL CHECK (json_valid(doc)));
CREATE UNIQUE INDEX lineage_edge
    ON lineage (doc ->> '$.source_asset_id', doc ->> '$.target_asset_id', doc ->> '$.run_id');
CREATE INDEX lineage_target ON lineage (doc ->> '$.target_asset_id');

CREATE TABLE activity_logs (id TEXT PRIMARY KEY NOT NULL, doc TEXT NOT NULL CHECK (json_valid(doc)));
CREATE UNIQUE INDEX activity_logs_event_key ON activity_logs (doc ->> '$.event_key')
    WHERE doc ->> '$.event_key' IS NOT NULL;
CREATE INDEX activity_logs_resource ON activity_logs (doc ->> '$.resource_type', doc ->> '$.resource_id', id);
