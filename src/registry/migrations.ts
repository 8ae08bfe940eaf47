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
  `
  ALTER TABLE checkpoints ADD COLUMN metrics TEXT NOT NULL DEFAULT '{}'; -- JSON object of numbers
  ALTER TABLE checkpoints ADD COLUMN architecture TEXT;
  ALTER TABLE checkpoints ADD COLUMN library TEXT;
  ALTER TABLE checkpoints ADD COLUMN warnings TEXT; -- JSON array of sentences
  ALTER TABLE latest RENAME TO promoted;
  CREATE TABLE aliases (
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    step INTEGER NOT NULL,
    moved_at_ms INTEGER NOT NULL,
    by TEXT NOT NULL,
    PRIMARY KEY (model, alias)
  ) STRICT;
  -- Appended to, never changed.
  CREATE TABLE moves (
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    from_step INTEGER,
    to_step INTEGER,
    at_ms INTEGER NOT NULL,
    by TEXT NOT NULL
  ) STRICT;
  CREATE INDEX moves_of_model ON moves (model, id);
  CREATE TABLE pins (
    id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    from_step INTEGER NOT NULL,
    to_step INTEGER NOT NULL,
    steps TEXT, -- JSON array; present: of the range these alone
    owner TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    until_ms INTEGER
  ) STRICT;
  `,
  `
  CREATE TABLE reservations (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    slots INTEGER NOT NULL,
    owner TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    until_ms INTEGER
  ) STRICT;
  `,
  `
  -- Rows are never removed: a key that was revoked must not become another's.
  CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest TEXT NOT NULL, -- SHA-256 of the secret, which is kept nowhere
    previous_digest TEXT,
    previous_until_ms INTEGER,
    scopes TEXT NOT NULL, -- JSON array
    models TEXT NOT NULL, -- JSON array of patterns
    class TEXT,
    per_minute INTEGER,
    concurrent_max INTEGER,
    created_at_ms INTEGER NOT NULL,
    until_ms INTEGER,
    revoked_at_ms INTEGER,
    CHECK ((previous_digest IS NULL) = (previous_until_ms IS NULL))
  ) STRICT;
  -- Appended to, never changed; the oldest go.
  CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    who TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    status INTEGER NOT NULL,
    before TEXT, -- JSON
    after TEXT -- JSON
  ) STRICT;
  `,
  `
  CREATE TABLE cordons (
    backend TEXT PRIMARY KEY,
    who TEXT NOT NULL,
    since_ms INTEGER NOT NULL
  ) STRICT;
  `,
  `
  CREATE TABLE backends (
    name TEXT PRIMARY KEY,
    settings TEXT NOT NULL, -- JSON object
    who TEXT NOT NULL,
    since_ms INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE engines (
    name TEXT PRIMARY KEY,
    phase TEXT NOT NULL,
    spec TEXT NOT NULL, -- JSON object
    pid INTEGER,
    born TEXT,
    about TEXT,
    who TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    CHECK ((pid IS NULL) = (born IS NULL))
  ) STRICT;
  `,
];
