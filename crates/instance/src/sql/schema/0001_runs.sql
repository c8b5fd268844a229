-- Orchestrator state, version 1: runs, the event log, daemons. Times are integer microseconds since 1970 in UTC; truth
-- is 0 or 1; what no query filters by is JSON.

CREATE TABLE schema_version (
    version INTEGER NOT NULL
) STRICT;
INSERT INTO schema_version (version) VALUES (0);

CREATE TABLE runs (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id        TEXT NOT NULL UNIQUE,
    job_name      TEXT NOT NULL,
    location      TEXT NOT NULL,
    status        TEXT NOT NULL,
    run_config    TEXT NOT NULL,
    tags          TEXT NOT NULL,
    partition_key TEXT,
    selection     TEXT NOT NULL,
    parent_run_id TEXT,
    root_run_id   TEXT,
    created_at    INTEGER NOT NULL,
    launched_at   INTEGER,
    started_at    INTEGER,
    ended_at      INTEGER,
    lease_epoch   INTEGER NOT NULL DEFAULT 0,
    lease_until   INTEGER,
    process       TEXT,
    problem       TEXT,
    -- Whether its log lines were removed.
    log_purged    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX runs_by_status ON runs (status, seq);
CREATE INDEX runs_by_job ON runs (job_name, seq);
CREATE INDEX runs_by_location ON runs (location, seq);
CREATE INDEX runs_by_partition ON runs (partition_key, seq) WHERE partition_key IS NOT NULL;
CREATE INDEX runs_by_time ON runs (created_at, seq);
CREATE INDEX runs_by_end ON runs (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX runs_with_log ON runs (ended_at) WHERE ended_at IS NOT NULL AND log_purged = 0;
CREATE INDEX runs_live ON runs (seq) WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED');

-- The same tags as in runs.tags, one a row, to filter by.
CREATE TABLE run_tags (
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    seq   INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
    PRIMARY KEY (key, value, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_tags_of_run ON run_tags (seq);

-- Runs that were deleted: what they have left elsewhere may go as well.
CREATE TABLE deleted_runs (
    run_id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Run keys that were used. Without a foreign key, on purpose: no deletion of runs touches them.
CREATE TABLE run_keys (
    scope     TEXT NOT NULL,
    key       TEXT NOT NULL,
    run_id    TEXT NOT NULL,
    claim_key TEXT,
    used_at   INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

-- The event log. An id is never given twice, even after the newest row was deleted. SQLite lets one transaction write
-- at a time, so ids become visible in their order; on PostgreSQL a reader stands at events_horizon() at the most.
-- Each index is paid with every event, so most hold only the few events that are looked for that way.
CREATE TABLE events (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id    TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    kind      TEXT NOT NULL,
    step_key  TEXT,
    level     TEXT NOT NULL,
    message   TEXT NOT NULL,
    data      TEXT,
    asset_key TEXT,
    partition TEXT
) STRICT;
CREATE INDEX events_of_run ON events (run_id, id);
CREATE INDEX events_of_step ON events (run_id, step_key, id) WHERE step_key IS NOT NULL;
CREATE INDEX events_by_kind ON events (kind, id) WHERE kind <> 'LOG';
CREATE INDEX events_of_asset ON events (asset_key, kind, id) WHERE asset_key IS NOT NULL;
CREATE INDEX events_of_partition ON events (asset_key, partition, id) WHERE partition IS NOT NULL;
CREATE INDEX events_by_time ON events (timestamp, id);
CREATE INDEX events_serious ON events (id) WHERE level IN ('WARNING', 'ERROR');
CREATE INDEX events_serious_of_run ON events (run_id, id) WHERE level IN ('WARNING', 'ERROR');

-- The one daemon that leads. The epoch is a key, so that whoever writes under it holds only its change up.
CREATE TABLE leadership (
    one    INTEGER PRIMARY KEY,
    epoch  INTEGER NOT NULL UNIQUE,
    holder TEXT,
    until  INTEGER NOT NULL
) STRICT;

CREATE TABLE heartbeats (
    daemon  TEXT PRIMARY KEY,
    at      INTEGER NOT NULL,
    problem TEXT,
    lag     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How far each follower of the event log has come.
CREATE TABLE follow_cursors (
    name     TEXT PRIMARY KEY,
    event_id INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
