// What must survive: every revision of every checkpoint, where `latest` points, and which source files were already taken.
// SQLite in WAL mode with synchronous FULL: what `add` returned from is on the disk. It stores and loads, and decides nothing.
// One process owns the file (exclusive lock), as one process owns the adapter store beside it.
import { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import {
  type AdapterId,
  as,
  type BaseName,
  type Checkpoint,
  type CheckpointId,
  type CheckpointName,
  type Digest,
  type ModelName,
  NO_DETAILS,
} from '../domain.ts';
import { StepgateError } from '../errors.ts';
import { MIGRATIONS } from './migrations.ts';

/** Files that were taken (or judged) under a name: discovery does not bring the same ones again. */
export interface Sighting {
  readonly name: CheckpointName;
  /** The directory that they were found in. */
  readonly source: string;
  readonly signature: string;
}

/** The seam of persistence. Every write is durable, whole or not at all, when the call returns. */
export interface Store {
  /** Every revision, in the order in which they were added. */
  checkpoints(): readonly Checkpoint[];
  latest(): ReadonlyMap<ModelName, CheckpointId>;
  add(checkpoint: Checkpoint, sighting: Sighting): void;
  /** The name's files of `sighting.source` now have this signature; nothing else changed. */
  see(sighting: Sighting): void;
  /** The signature last seen, if any. */
  seen(name: CheckpointName, source: string): string | undefined;
  markDeleted(id: CheckpointId, atMs: number): void;
  setLatest(model: ModelName, id: CheckpointId): void;
  /** Idempotent. */
  close(): void;
}

const LOCK_WAIT_MS = 1_000;
const SQLITE_BUSY = 5;
const SQLITE_FULL = 13;
const SQLITE_NOTADB = 26;

const Text = z.string();
const Integer = z.number().int();
const Row = z.object({
  id: Text,
  name: Text,
  model: Text,
  step: Integer.nullable(),
  revision: Integer,
  adapter_id: Text.nullable(),
  digest: Text.nullable(),
  bytes: Integer.nullable(),
  rank: Integer.nullable(),
  base: Text.nullable(),
  source: Text,
  created_at_ms: Integer,
  deleted_at_ms: Integer.nullable(),
  reasons: Text.nullable(),
});
type Row = z.infer<typeof Row>;

export interface DatabaseOptions {
  readonly file: string;
  /** Where the store keeps a digest: the data directory may move, so rows hold no paths of it. */
  readonly pathOf: (digest: Digest) => string;
  readonly migrations?: readonly string[];
}

export class Database implements Store {
  readonly #db: DatabaseSync;
  readonly #pathOf: DatabaseOptions['pathOf'];

  /** Throws an Error with a sentence for people: in use by another process, newer than this version, no database. */
  constructor(options: DatabaseOptions) {
    this.#pathOf = options.pathOf;
    this.#db = new DatabaseSync(options.file, { timeout: LOCK_WAIT_MS });
    try {
      this.#db.exec(
        'PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;',
      );
      migrate(this.#db, options.file, options.migrations ?? MIGRATIONS);
    } catch (error) {
      this.#db.close();
      throw explainOpening(error, options.file);
    }
  }

  checkpoints(): readonly Checkpoint[] {
    const rows = this.#db.prepare('SELECT * FROM checkpoints ORDER BY rowid').all();
    return rows.map((row) => this.#checkpointOf(Row.parse(row)));
  }

  latest(): ReadonlyMap<ModelName, CheckpointId> {
    const rows = this.#db.prepare('SELECT model, checkpoint FROM latest').all();
    return new Map(
      rows.map((row) => [as<ModelName>(Text.parse(row.model)), as<CheckpointId>(Text.parse(row.checkpoint))]),
    );
  }

  add(checkpoint: Checkpoint, sighting: Sighting): void {
    const { adapter, state } = checkpoint;
    this.#write(() => {
      this.#db
        .prepare(
          `INSERT INTO checkpoints (id, name, model, step, revision, adapter_id, digest, bytes, rank, base, source, created_at_ms, deleted_at_ms, reasons)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(
          checkpoint.id,
          checkpoint.name,
          checkpoint.model,
          checkpoint.step ?? null,
          checkpoint.revision,
          adapter?.id ?? null,
          adapter?.digest ?? null,
          adapter?.bytes ?? null,
          adapter?.rank ?? null,
          checkpoint.base ?? null,
          checkpoint.source,
          checkpoint.createdAtMs,
          state.kind === 'deleted' ? state.atMs : null,
          state.kind === 'unservable' ? JSON.stringify(state.reasons) : null,
        );
      this.#see(sighting);
    });
  }

  see(sighting: Sighting): void {
    this.#write(() => this.#see(sighting));
  }

  seen(name: CheckpointName, source: string): string | undefined {
    const row = this.#db.prepare('SELECT signature FROM sightings WHERE name = ? AND source = ?').get(name, source);
    return row && Text.parse(row.signature);
  }

  markDeleted(id: CheckpointId, atMs: number): void {
    this.#write(() => this.#db.prepare('UPDATE checkpoints SET deleted_at_ms = ? WHERE id = ?').run(atMs, id));
  }

  setLatest(model: ModelName, id: CheckpointId): void {
    this.#write(() =>
      this.#db.prepare('INSERT OR REPLACE INTO latest (model, checkpoint) VALUES (?, ?)').run(model, id),
    );
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close();
  }

  #see(sighting: Sighting): void {
    this.#db
      .prepare('INSERT OR REPLACE INTO sightings (name, source, signature) VALUES (?, ?, ?)')
      .run(sighting.name, sighting.source, sighting.signature);
  }

  /** All or nothing, and durable. Throws storage_full where the disk is. */
  #write(change: () => void): void {
    try {
      transaction(this.#db, change);
    } catch (error) {
      if (codeOf(error) !== SQLITE_FULL) throw error;
      throw new StepgateError(
        'storage_full',
        'The disk under `data` is full: nothing was registered. Free space and try again.',
        {
          cause: error,
        },
      );
    }
  }

  #checkpointOf(row: Row): Checkpoint {
    return {
      id: as<CheckpointId>(row.id),
      name: as<CheckpointName>(row.name),
      model: as<ModelName>(row.model),
      step: row.step ?? undefined,
      revision: row.revision,
      adapter: this.#adapterOf(row),
      base: row.base === null ? undefined : as<BaseName>(row.base),
      source: row.source,
      createdAtMs: row.created_at_ms,
      state: stateOf(row),
      details: NO_DETAILS,
    };
  }

  #adapterOf(row: Row): Checkpoint['adapter'] {
    if (row.adapter_id === null || row.digest === null || row.bytes === null || row.rank === null) return undefined;
    const digest = as<Digest>(row.digest);
    return { id: as<AdapterId>(row.adapter_id), path: this.#pathOf(digest), digest, bytes: row.bytes, rank: row.rank };
  }
}

function stateOf(row: Row): Checkpoint['state'] {
  if (row.deleted_at_ms !== null) return { kind: 'deleted', atMs: row.deleted_at_ms };
  if (row.reasons !== null) return { kind: 'unservable', reasons: z.array(Text).parse(JSON.parse(row.reasons)) };
  return { kind: 'servable' };
}

function migrate(db: DatabaseSync, file: string, migrations: readonly string[]): void {
  const version = Integer.parse(db.prepare('PRAGMA user_version').get()?.user_version);
  if (version > migrations.length) {
    throw new Error(
      `${file} was written by a newer stepgate (its schema is ${version}, this one knows up to ${migrations.length}). Upgrade stepgate, or set another \`data\` directory.`,
    );
  }
  for (const [index, sql] of migrations.entries()) {
    if (index >= version) transaction(db, () => db.exec(`${sql}; PRAGMA user_version = ${index + 1};`));
  }
}

function transaction(db: DatabaseSync, change: () => void): void {
  db.exec('BEGIN IMMEDIATE');
  try {
    change();
    db.exec('COMMIT');
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'errcode' in error ? error.errcode : undefined;
}

function explainOpening(error: unknown, file: string): unknown {
  if (codeOf(error) === SQLITE_BUSY) {
    return new Error(
      `${file} is in use: another stepgate runs on this \`data\` directory. Stop it, or set another one.`,
      { cause: error },
    );
  }
  if (codeOf(error) === SQLITE_NOTADB) {
    return new Error(`${file} is not a stepgate registry. Move it away, or set another \`data\` directory.`, {
      cause: error,
    });
  }
  return error;
}
