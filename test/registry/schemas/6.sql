-- A registry as version 3 of the schema wrote it: its tables, and rows of each kind.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
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
  reasons TEXT, metrics TEXT NOT NULL DEFAULT '{}', architecture TEXT, library TEXT, warnings TEXT,
  UNIQUE (name, revision),
  CHECK ((adapter_id IS NULL) = (digest IS NULL) AND (digest IS NULL) = (bytes IS NULL) AND (bytes IS NULL) = (rank IS NULL))
) STRICT;
INSERT INTO checkpoints VALUES('id-1','m@5','m',5,1,'m@5','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',100,8,NULL,'/runs/m/checkpoint-5',1700000000000,NULL,NULL,'{"eval_loss":0.5}','LlamaForCausalLM','peft 0.17.1','["Its base has another name."]');
INSERT INTO checkpoints VALUES('id-2','m@5','m',5,2,'m@5-bbbbbbbb','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',100,8,NULL,'/runs/m/checkpoint-5',1700000001000,NULL,NULL,'{}',NULL,NULL,NULL);
INSERT INTO checkpoints VALUES('id-3','m@6','m',6,1,'m@6','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc',100,8,'base','/runs/m/checkpoint-6',1700000002000,1700000009000,NULL,'{}',NULL,NULL,NULL);
INSERT INTO checkpoints VALUES('id-4','m@7','m',7,1,NULL,NULL,NULL,NULL,NULL,'/runs/m/checkpoint-7',1700000003000,NULL,'["It is DoRA."]','{}',NULL,NULL,NULL);
INSERT INTO checkpoints VALUES('id-5','org/x@rev','org/x@rev',NULL,1,'org/x@rev','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',100,8,NULL,'/runs/x',1700000004000,NULL,NULL,'{}',NULL,NULL,NULL);
CREATE TABLE IF NOT EXISTS "promoted" (
  model TEXT PRIMARY KEY,
  checkpoint TEXT NOT NULL REFERENCES checkpoints (id)
) STRICT;
INSERT INTO promoted VALUES('m','id-1');
CREATE TABLE sightings (
  name TEXT NOT NULL,
  source TEXT NOT NULL,
  signature TEXT NOT NULL,
  PRIMARY KEY (name, source)
) STRICT;
INSERT INTO sightings VALUES('m@5','/runs/m/checkpoint-5','1:2:3 4:5:6');
CREATE TABLE aliases (
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    step INTEGER NOT NULL,
    moved_at_ms INTEGER NOT NULL,
    by TEXT NOT NULL,
    PRIMARY KEY (model, alias)
  ) STRICT;
INSERT INTO aliases VALUES('m','champion',5,1700000005000,'ann');
CREATE TABLE moves (
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    from_step INTEGER,
    to_step INTEGER,
    at_ms INTEGER NOT NULL,
    by TEXT NOT NULL
  ) STRICT;
INSERT INTO moves VALUES(1,'m','champion',NULL,5,1700000005000,'ann');
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
INSERT INTO pins VALUES('p1','m',5,40,NULL,'eval',1700000006000,1700000099000);
CREATE TABLE reservations (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    slots INTEGER NOT NULL,
    owner TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    until_ms INTEGER
  ) STRICT;
INSERT INTO reservations VALUES('r1','latest','m',2,'trainer',1700000007000,NULL);
CREATE INDEX moves_of_model ON moves (model, id);
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
INSERT INTO keys VALUES('k1','ci','0000000000000000000000000000000000000000000000000000000000000000',NULL,NULL,'["use"]','["m"]',NULL,60,NULL,1700000008000,NULL,NULL);
INSERT INTO audit VALUES(1,1700000008000,'k1 (ci)','POST','/admin/v1/pins',201,NULL,'{"id":"p1"}');
  CREATE TABLE cordons (
    backend TEXT PRIMARY KEY,
    who TEXT NOT NULL,
    since_ms INTEGER NOT NULL
  ) STRICT;
INSERT INTO cordons VALUES('gpu-0','ops',1700000009000);
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
INSERT INTO backends VALUES('gpu-7','{"url":"http://127.0.0.1:8107","kind":"vllm"}','ops',1700000010000);
INSERT INTO engines VALUES('mine','serving','{"port":8100}',77,'boot 123',NULL,'ops',1700000011000);
COMMIT;
PRAGMA user_version = 6;
