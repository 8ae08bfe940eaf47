-- A registry as version 1 of the schema wrote it: its tables, and rows of each kind.
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
INSERT INTO checkpoints VALUES ('id-1', 'm@5', 'm', 5, 1, 'm@5', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 100, 8, NULL, '/runs/m/checkpoint-5', 1700000000000, NULL, NULL);
INSERT INTO checkpoints VALUES ('id-2', 'm@5', 'm', 5, 2, 'm@5-bbbbbbbb', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 100, 8, NULL, '/runs/m/checkpoint-5', 1700000001000, NULL, NULL);
INSERT INTO checkpoints VALUES ('id-3', 'm@6', 'm', 6, 1, 'm@6', 'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc', 100, 8, 'base', '/runs/m/checkpoint-6', 1700000002000, 1700000009000, NULL);
INSERT INTO checkpoints VALUES ('id-4', 'm@7', 'm', 7, 1, NULL, NULL, NULL, NULL, NULL, '/runs/m/checkpoint-7', 1700000003000, NULL, '["It is DoRA."]');
INSERT INTO checkpoints VALUES ('id-5', 'org/x@rev', 'org/x@rev', NULL, 1, 'org/x@rev', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 100, 8, NULL, '/runs/x', 1700000004000, NULL, NULL);
INSERT INTO latest VALUES ('m', 'id-1');
INSERT INTO sightings VALUES ('m@5', '/runs/m/checkpoint-5', '1:2:3 4:5:6');
PRAGMA user_version = 1;
