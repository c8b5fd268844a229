CREATE TABLE buckets (
    name TEXT PRIMARY KEY,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE blobs (
    name TEXT PRIMARY KEY,
    refs INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE objects (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket TEXT NOT NULL REFERENCES buckets (name),
    key BLOB NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    modified_ms INTEGER NOT NULL,
    principal TEXT NOT NULL,
    attributes TEXT NOT NULL,
    checksums TEXT NOT NULL,
    layout TEXT NOT NULL,
    UNIQUE (bucket, key)
) STRICT;

CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    bucket TEXT NOT NULL REFERENCES buckets (name),
    key BLOB NOT NULL,
    initiated_ms INTEGER NOT NULL,
    principal TEXT NOT NULL,
    attributes TEXT NOT NULL,
    checksum TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX uploads_by_key ON uploads (bucket, key, id);

CREATE TABLE parts (
    upload TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    modified_ms INTEGER NOT NULL,
    checksums TEXT NOT NULL,
    segments TEXT NOT NULL,
    PRIMARY KEY (upload, number)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 1;
