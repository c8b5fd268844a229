-- Orchestrator state, version 1. Times are integer microseconds since 1970 in UTC; what no query filters by is JSON.

CREATE TABLE runs (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id        TEXT NOT NULL UNIQUE,
    job_name      TEXT NOT NULL,
    location      TEXT NOT NULL,
    status        TEXT NOT NULL,
    run_config    TEXT NOT NULL,
    tags          TEXT NOT NULL,
    partition_key TEXT,
    created_at    INTEGER NOT NULL,
    launched_at   INTEGER,
    started_at    INTEGER,
    ended_at      INTEGER,
    lease_epoch   INTEGER NOT NULL DEFAULT 0,
    lease_until   INTEGER,
    pid           INTEGER,
    problem       TEXT
) STRICT;
CREATE INDEX runs_by_status ON runs (status, seq);
CREATE INDEX runs_by_job ON runs (job_name, seq);
CREATE INDEX runs_by_partition ON runs (partition_key, seq) WHERE partition_key IS NOT NULL;
CREATE INDEX runs_live ON runs (seq) WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED');

-- The same tags as in runs.tags, one a row, to filter by.
CREATE TABLE run_tags (
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    seq   INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
    PRIMARY KEY (key, value, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_tags_of_run ON run_tags (seq);

-- The event log. AUTOINCREMENT: an id is never given twice, even after the newest row was deleted. SQLite lets
-- one transaction write at a time, so ids become visible in their order, and a reader that follows them by
-- `id > last` misses none: the id is the global cursor.
CREATE TABLE events (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id    TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    kind      TEXT NOT NULL,
    step_key  TEXT,
    level     TEXT NOT NULL,
    message   TEXT NOT NULL,
    data      TEXT
) STRICT;
CREATE INDEX events_of_run ON events (run_id, id);
CREATE INDEX events_by_kind ON events (kind, id);

CREATE TABLE sensors (
    name   TEXT PRIMARY KEY,
    cursor TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE ticks (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    sensor             TEXT NOT NULL,
    status             TEXT NOT NULL,
    started_at         INTEGER NOT NULL,
    ended_at           INTEGER,
    run_ids            TEXT NOT NULL DEFAULT '[]',
    duplicate_run_keys TEXT NOT NULL DEFAULT '[]',
    rejected           TEXT NOT NULL DEFAULT '[]',
    skip_reason        TEXT,
    problem            TEXT
) STRICT;
CREATE INDEX ticks_of_sensor ON ticks (sensor, id);
CREATE INDEX ticks_open ON ticks (sensor) WHERE status = 'STARTED';

-- Run keys that were used. Without a foreign key, on purpose: no deletion of runs touches them.
CREATE TABLE run_keys (
    sensor     TEXT NOT NULL,
    run_key    TEXT NOT NULL,
    run_id     TEXT NOT NULL,
    claim_key  TEXT,
    used_at    INTEGER NOT NULL,
    PRIMARY KEY (sensor, run_key)
) STRICT, WITHOUT ROWID;

-- Outside objects that were handled, with what became of them. Kept for ever, as run keys are.
CREATE TABLE claims (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    sensor      TEXT NOT NULL,
    key         TEXT NOT NULL,
    etag        TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    finished    INTEGER NOT NULL DEFAULT 0,
    admitted_at INTEGER NOT NULL,
    UNIQUE (sensor, key, etag)
) STRICT;
CREATE INDEX claims_unfinished ON claims (sensor, seq) WHERE finished = 0;

CREATE TABLE partitions (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    definition TEXT NOT NULL,
    key        TEXT NOT NULL,
    UNIQUE (definition, key)
) STRICT;

CREATE TABLE heartbeats (
    daemon TEXT PRIMARY KEY,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How far each follower of the event log has come.
CREATE TABLE follow_cursors (
    name     TEXT PRIMARY KEY,
    event_id INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
