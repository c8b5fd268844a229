-- Sensors and schedules, assets, backfills, pools, automation, alerts and locations, version 1. As in 0001_runs.sql.

-- Sensors and schedules.
CREATE TABLE instigators (
    instigator    TEXT PRIMARY KEY,
    status        TEXT NOT NULL DEFAULT 'DECLARED_IN_CODE',
    running_since INTEGER,
    cursor        TEXT,
    last_tick_at  INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE ticks (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    instigator         TEXT NOT NULL,
    kind               TEXT NOT NULL,
    status             TEXT NOT NULL,
    started_at         INTEGER NOT NULL,
    ended_at           INTEGER,
    scheduled_for      INTEGER,
    run_ids            TEXT NOT NULL DEFAULT '[]',
    duplicate_run_keys TEXT NOT NULL DEFAULT '[]',
    rejected           TEXT NOT NULL DEFAULT '[]',
    origin_run_ids     TEXT NOT NULL DEFAULT '[]',
    skip_reason        TEXT,
    problem            TEXT
) STRICT;
-- A page by status and time reads no tick that it does not show.
CREATE INDEX ticks_of_instigator ON ticks (instigator, id, status, started_at);
CREATE INDEX ticks_by_status ON ticks (instigator, status, id, started_at);
CREATE INDEX ticks_by_age ON ticks (kind, status, started_at);

CREATE TABLE tick_logs (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    tick      INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    level     TEXT NOT NULL,
    message   TEXT NOT NULL
) STRICT;
CREATE INDEX tick_logs_of_tick ON tick_logs (tick, id);

-- Outside objects that were handled, with what became of them. Kept for ever, as run keys are.
CREATE TABLE claims (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    instigator  TEXT NOT NULL,
    key         TEXT NOT NULL,
    etag        TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    finished    INTEGER NOT NULL DEFAULT 0,
    admitted_at INTEGER NOT NULL,
    UNIQUE (instigator, key, etag)
) STRICT;
CREATE INDEX claims_unfinished ON claims (instigator, seq) WHERE finished = 0;

-- Keys of dynamic partitions.
CREATE TABLE partitions (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    definition TEXT NOT NULL,
    key        TEXT NOT NULL,
    UNIQUE (definition, key)
) STRICT;
CREATE INDEX partitions_in_order ON partitions (definition, seq, key);

-- What the event log says of assets: the newest of each, written with the events.
CREATE TABLE asset_records (
    asset_key       TEXT PRIMARY KEY,
    materialized_id INTEGER,
    materialized_at INTEGER,
    materialized_by TEXT,
    data_version    TEXT,
    code_version    TEXT,
    observed_id     INTEGER,
    observed_at     INTEGER,
    failed_id       INTEGER,
    wiped_at        INTEGER
) STRICT, WITHOUT ROWID;

-- The same for each partition; an asset without partitions has one row with an empty key.
CREATE TABLE asset_partitions (
    asset_key       TEXT NOT NULL,
    partition_key   TEXT NOT NULL,
    status          TEXT NOT NULL,
    materialized_id INTEGER,
    materialized_at INTEGER,
    materialized_by TEXT,
    data_version    TEXT,
    code_version    TEXT,
    failed_id       INTEGER,
    last_event      INTEGER NOT NULL,
    run_id          TEXT NOT NULL,
    PRIMARY KEY (asset_key, partition_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX asset_partitions_by_status ON asset_partitions (asset_key, status);
CREATE INDEX asset_partitions_newest ON asset_partitions (asset_key, materialized_id);

-- What live runs are about to materialise. A row goes when its run has done so, has said that it did not, or has ended.
CREATE TABLE asset_plans (
    asset_key     TEXT NOT NULL,
    partition_key TEXT NOT NULL,
    run_id        TEXT NOT NULL,
    event_id      INTEGER NOT NULL,
    step_key      TEXT,
    PRIMARY KEY (asset_key, partition_key, run_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX asset_plans_of_run ON asset_plans (run_id);
CREATE INDEX asset_plans_newest ON asset_plans (asset_key, event_id);

CREATE TABLE check_executions (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    asset_key     TEXT NOT NULL,
    check_name    TEXT NOT NULL,
    partition_key TEXT NOT NULL,
    run_id        TEXT NOT NULL,
    step_key      TEXT,
    status        TEXT NOT NULL,
    timestamp     INTEGER NOT NULL,
    evaluation_id INTEGER
) STRICT;
CREATE INDEX check_executions_of_check ON check_executions (asset_key, check_name, id);
CREATE INDEX check_executions_of_partition ON check_executions (asset_key, check_name, partition_key, id);
CREATE INDEX check_executions_of_run ON check_executions (run_id, asset_key, check_name);

-- The newest evaluation of each check.
CREATE TABLE checks (
    asset_key    TEXT NOT NULL,
    check_name   TEXT NOT NULL,
    execution_id INTEGER NOT NULL,
    PRIMARY KEY (asset_key, check_name)
) STRICT, WITHOUT ROWID;

CREATE TABLE backfills (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    location   TEXT NOT NULL,
    status     TEXT NOT NULL,
    request    TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER,
    problem    TEXT,
    progress   TEXT NOT NULL,
    version    INTEGER NOT NULL
) STRICT;
CREATE INDEX backfills_by_status ON backfills (status, seq);
CREATE INDEX backfills_by_location ON backfills (location, seq);

-- Limits of concurrency pools.
CREATE TABLE pools (
    name       TEXT PRIMARY KEY,
    slot_limit INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who holds a slot (held = 1) and who waits for one.
CREATE TABLE pool_slots (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    pool     TEXT NOT NULL,
    run_id   TEXT NOT NULL,
    step_key TEXT NOT NULL,
    priority INTEGER NOT NULL,
    held     INTEGER NOT NULL,
    since    INTEGER NOT NULL,
    UNIQUE (pool, run_id, step_key)
) STRICT;
CREATE INDEX pool_slots_line ON pool_slots (pool, held, priority DESC, since, id);
CREATE INDEX pool_slots_of_run ON pool_slots (run_id);

-- What automation conditions keep between their ticks.
CREATE TABLE automation_states (
    location TEXT NOT NULL,
    key      TEXT NOT NULL,
    state    TEXT NOT NULL,
    PRIMARY KEY (location, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE automation_records (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    key        TEXT NOT NULL,
    tick       INTEGER NOT NULL,
    timestamp  INTEGER NOT NULL,
    requested  INTEGER NOT NULL,
    evaluation TEXT NOT NULL
) STRICT;
CREATE INDEX automation_records_of_key ON automation_records (key, id);
CREATE INDEX automation_records_by_age ON automation_records (timestamp);

CREATE TABLE alerts (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    key        TEXT NOT NULL,
    rule       TEXT NOT NULL,
    channel    TEXT NOT NULL,
    event      TEXT NOT NULL,
    status     TEXT NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    due_at     INTEGER NOT NULL,
    last_error TEXT
) STRICT;
CREATE INDEX alerts_due ON alerts (due_at, id) WHERE status = 'PENDING';
CREATE INDEX alerts_by_age ON alerts (created_at) WHERE status <> 'PENDING';

-- Keys of alerts that were raised. They outlive their alerts.
CREATE TABLE alert_keys (
    key       TEXT PRIMARY KEY,
    raised_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Code locations as they were seen last.
CREATE TABLE locations (
    name      TEXT PRIMARY KEY,
    snapshot  TEXT,
    loaded_at INTEGER,
    problem   TEXT,
    since     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
