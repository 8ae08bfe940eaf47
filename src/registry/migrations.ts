// The database's schema, as the steps that lead to it: entry N takes `user_version` from N to N + 1.
// Append only: an entry that was released is never edited.

export const MIGRATIONS: readonly string[] = [
  `
  -- One row per revision; rows are never removed, since an adapter_id must not stand for other weights later.
  CREATE TABLE checkpoints (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    model TEXT NOT NULL,
    step INTEGER,
    revision INTEGER NOT NULL,
    adapter_id TEXT,
    digest TEXT,
    bytes INTEGER,
    rank INTEGER,
    base TEXT,
    source TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    deleted_at_ms INTEGER,
    reasons TEXT, -- JSON array of sentences; present: not servable
    UNIQUE (name, revision),
    CHECK ((adapter_id IS NULL) = (digest IS NULL) AND (digest IS NULL) = (bytes IS NULL) AND (bytes IS NULL) = (rank IS NULL))
  ) STRICT;
  CREATE TABLE latest (
    model TEXT PRIMARY KEY,
    checkpoint TEXT NOT NULL REFERENCES checkpoints (id)
  ) STRICT;
  -- The source files last taken under a name, so that a rescan does not bring them again, nor bring a deleted step back.
  CREATE TABLE sightings (
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (name, source)
  ) STRICT;
  `,
];
