// The registry's rows as the doctor reads and marks them: the file itself, of whatever version this program knows, without migrating it.
// Reads the columns of the first schema only, which every later one keeps.
import { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { as, type CheckpointName, type Digest } from '../domain.ts';
import { MIGRATIONS } from './migrations.ts';

/** The current revision of one name. */
export interface KnownRow {
  readonly id: string;
  readonly name: CheckpointName;
  readonly digest: Digest | undefined;
  readonly bytes: number;
  readonly state: 'servable' | 'unservable' | 'deleted';
}

const Row = z.object({
  id: z.string(),
  name: z.string(),
  digest: z.string().nullable(),
  bytes: z.number().nullable(),
  deleted_at_ms: z.number().nullable(),
  reasons: z.string().nullable(),
});

const LOCK_WAIT_MS = 1_000;
const SQLITE_BUSY = 5;

export class DoctorRows {
  readonly #db: DatabaseSync;

  /** The file must exist. Throws an Error with a sentence for people while a gateway runs on it; SQLite's error where it is no database. */
  constructor(file: string) {
    this.#db = new DatabaseSync(file, { timeout: LOCK_WAIT_MS });
    try {
      this.#db.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; ROLLBACK;');
    } catch (error) {
      this.#db.close();
      if (!isBusy(error)) throw error;
      throw new Error(`a gateway runs on ${file}: stop it first, or ask it with "stepgate ls"`, { cause: error });
    }
  }

  /** What is wrong with the file as a database: sentences; none when it is sound and of a version that this program knows. */
  problems(): string[] {
    const version = Number(this.#db.prepare('PRAGMA user_version').get()?.user_version);
    if (version > MIGRATIONS.length)
      return [
        `it was written by a newer stepgate (its schema is ${version}, this one knows up to ${MIGRATIONS.length}): upgrade stepgate`,
      ];
    if (version === 0) return ['it holds no registry: no gateway has used it yet, or it is another program’s'];
    const integrity = this.#db.prepare('PRAGMA integrity_check(10)').all();
    const broken = integrity.map((row) => String(row.integrity_check)).filter((line) => line !== 'ok');
    const dangling = this.#db.prepare('PRAGMA foreign_key_check').all();
    return [
      ...broken.map((line) => `SQLite says: ${line}`),
      ...dangling.map((row) => `table ${row.table}: a row leads to a checkpoint that is not there`),
    ];
  }

  /** Every name's current revision. */
  current(): KnownRow[] {
    const rows = this.#db
      .prepare('SELECT id, name, digest, bytes, deleted_at_ms, reasons, max(revision) FROM checkpoints GROUP BY name')
      .all();
    return rows.map((cells) => {
      const row = Row.parse(cells);
      return {
        id: row.id,
        name: as<CheckpointName>(row.name),
        digest: row.digest === null ? undefined : as<Digest>(row.digest),
        bytes: row.bytes ?? 0,
        state: row.deleted_at_ms !== null ? 'deleted' : row.reasons !== null ? 'unservable' : 'servable',
      };
    });
  }

  /** Every content that any revision ever stood for: engines may have been told of it. */
  everTold(): Set<string> {
    const rows = this.#db.prepare('SELECT DISTINCT digest FROM checkpoints WHERE digest IS NOT NULL').all();
    return new Set(rows.map((row) => String(row.digest)));
  }

  /** Durable when it returns. The files that were seen under the name are forgotten, so that discovery brings them again. */
  markUnservable({ id, name }: KnownRow, reason: string): void {
    this.#db.exec('PRAGMA synchronous = FULL; BEGIN IMMEDIATE');
    this.#db.prepare('UPDATE checkpoints SET reasons = ? WHERE id = ?').run(JSON.stringify([reason]), id);
    this.#db.prepare('DELETE FROM sightings WHERE name = ?').run(name);
    this.#db.exec('COMMIT');
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close();
  }
}

const isBusy = (error: unknown): boolean =>
  error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY;
