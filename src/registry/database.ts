// The store in SQLite: WAL mode with synchronous FULL, so what `commit` returned from is on the disk. It stores and loads, and decides nothing.
// One process owns the file (exclusive lock), as one process owns the adapter store beside it.
import { closeSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { diskError } from '../disk-error.ts';
import {
  as,
  assertNever,
  type Checkpoint,
  type CheckpointId,
  type CheckpointName,
  type Digest,
  type ModelName,
} from '../domain.ts';
import { StepgateError } from '../errors.ts';
import { auditOf, auditRowOf, keyOf, keyRowOf } from './access-rows.ts';
import { backendOf, backendRowOf, engineOf, engineRowOf } from './backend-rows.ts';
import { MIGRATIONS } from './migrations.ts';
import {
  aliasOf,
  aliasRowOf,
  buildOf,
  buildRowOf,
  CheckpointReader,
  cordonOf,
  cordonRowOf,
  detailsRowOf,
  Integer,
  moveOf,
  moveRowOf,
  pinOf,
  pinRowOf,
  reservationOf,
  reservationRowOf,
  rowOf,
  Text,
} from './rows.ts';
import type {
  Alias,
  AuditRow,
  BackendRow,
  Build,
  Change,
  CordonRow,
  EngineRow,
  KeyRow,
  Move,
  Pin,
  ReservationRow,
  Sighting,
  Store,
} from './store.ts';

const FILE_MODE = 0o600;
const LOCK_WAIT_MS = 1_000;
const SQLITE_BUSY = 5;
const SQLITE_NOTADB = 26;

export interface DatabaseOptions {
  readonly file: string;
  /** Where the store keeps a digest: the data directory may move, so rows hold no paths of it. */
  readonly pathOf: (digest: Digest) => string;
  readonly migrations?: readonly string[];
}

export class Database implements Store {
  readonly #db: DatabaseSync;
  readonly #pathOf: DatabaseOptions['pathOf'];
  readonly #statements = new Map<string, StatementSync>();

  /** Throws an Error with a sentence for people: in use by another process, newer than this version, no database. */
  constructor(options: DatabaseOptions) {
    this.#pathOf = options.pathOf;
    // Digests of keys, the audit log: its owner's alone, whatever the umask. SQLite gives the log beside it the same mode.
    makeOwn(options.file);
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
    const reader = new CheckpointReader(this.#pathOf);
    const checkpoints: Checkpoint[] = [];
    for (const row of this.#db.prepare('SELECT * FROM checkpoints ORDER BY rowid').iterate())
      checkpoints.push(reader.read(row));
    return checkpoints;
  }

  promoted(): ReadonlyMap<ModelName, CheckpointId> {
    const rows = this.#db.prepare('SELECT model, checkpoint FROM promoted').all();
    return new Map(
      rows.map((row) => [as<ModelName>(Text.parse(row.model)), as<CheckpointId>(Text.parse(row.checkpoint))]),
    );
  }

  aliases(): readonly Alias[] {
    return this.#db.prepare('SELECT * FROM aliases ORDER BY model, alias').all().map(aliasOf);
  }

  pins(): readonly Pin[] {
    return this.#db.prepare('SELECT * FROM pins ORDER BY rowid').all().map(pinOf);
  }

  reservations(): readonly ReservationRow[] {
    return this.#db.prepare('SELECT * FROM reservations ORDER BY created_at_ms, id').all().map(reservationOf);
  }

  cordons(): readonly CordonRow[] {
    return this.#db.prepare('SELECT * FROM cordons ORDER BY backend').all().map(cordonOf);
  }

  backends(): readonly BackendRow[] {
    return this.#db.prepare('SELECT * FROM backends ORDER BY since_ms, name').all().map(backendOf);
  }

  engines(): readonly EngineRow[] {
    return this.#db.prepare('SELECT * FROM engines ORDER BY created_at_ms, name').all().map(engineOf);
  }

  deployments(): readonly Build[] {
    const newest = 'SELECT deployment, max(build) FROM builds GROUP BY deployment';
    return this.#db
      .prepare(`SELECT * FROM builds WHERE (deployment, build) IN (${newest}) ORDER BY deployment`)
      .all()
      .map(buildOf);
  }

  builds(deployment: string): readonly Build[] {
    return this.#db
      .prepare('SELECT * FROM builds WHERE deployment = ? ORDER BY build DESC')
      .all(deployment)
      .map(buildOf);
  }

  keys(): readonly KeyRow[] {
    return this.#db.prepare('SELECT * FROM keys ORDER BY created_at_ms, id').all().map(keyOf);
  }

  audit({ limit, before = Number.MAX_SAFE_INTEGER }: Parameters<Store['audit']>[0]): readonly AuditRow[] {
    return this.#db
      .prepare('SELECT * FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?')
      .all(before, limit)
      .map(auditOf);
  }

  history(model: ModelName, limit: number): readonly Move[] {
    return this.#db
      .prepare('SELECT * FROM moves WHERE model = ? ORDER BY id DESC LIMIT ?')
      .all(model, limit)
      .map(moveOf);
  }

  seen(name: CheckpointName, source: string): string | undefined {
    const row = this.#prepared('SELECT signature FROM sightings WHERE name = ? AND source = ?').get(name, source);
    return row && Text.parse(row.signature);
  }

  commit(changes: readonly Change[]): void {
    if (changes.length === 0) return;
    try {
      transaction(this.#db, () => {
        for (const change of changes) this.#write(change);
      });
    } catch (error) {
      throw diskError(error, 'nothing was changed');
    }
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close();
  }

  #write(change: Change): void {
    switch (change.kind) {
      case 'added':
        this.#insert('checkpoints', rowOf(change.checkpoint));
        return this.#see(change.sighting);
      case 'seen':
        return this.#see(change.sighting);
      case 'deleted':
        return this.#run('UPDATE checkpoints SET deleted_at_ms = ? WHERE id = ?', change.atMs, change.id);
      case 'detailed': {
        const { metrics = null, architecture = null, library = null } = detailsRowOf(change.details);
        const sql = 'UPDATE checkpoints SET metrics = ?, architecture = ?, library = ? WHERE id = ?';
        return this.#run(sql, metrics, architecture, library, change.id);
      }
      case 'promoted':
        return this.#insert('promoted', { model: change.model, checkpoint: change.checkpoint });
      case 'aliased':
        return this.#insert('aliases', aliasRowOf(change.alias));
      case 'unaliased':
        return this.#run('DELETE FROM aliases WHERE model = ? AND alias = ?', change.model, change.alias);
      case 'moved':
        return this.#insert('moves', moveRowOf(change.move));
      case 'pinned':
        return this.#insert('pins', pinRowOf(change.pin));
      case 'unpinned':
        return this.#run('DELETE FROM pins WHERE id = ?', change.id);
      case 'reserved':
        return this.#insert('reservations', reservationRowOf(change.reservation));
      case 'released':
        return this.#run('DELETE FROM reservations WHERE id = ?', change.id);
      case 'cordoned':
        return this.#insert('cordons', cordonRowOf(change.cordon));
      case 'uncordoned':
        return this.#run('DELETE FROM cordons WHERE backend = ?', change.backend);
      case 'backendAdded':
        return this.#insert('backends', backendRowOf(change.backend));
      case 'backendRemoved':
        return this.#run('DELETE FROM backends WHERE name = ?', change.name);
      case 'engineChanged':
        return this.#insert('engines', engineRowOf(change.engine));
      case 'engineGone':
        return this.#run('DELETE FROM engines WHERE name = ?', change.name);
      case 'keyed':
        return this.#insert('keys', keyRowOf(change.key));
      case 'audited':
        this.#insert('audit', auditRowOf(change.entry));
        return this.#run('DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?', change.keep);
      case 'built': {
        const { deployment, build } = change.build;
        this.#insert('builds', buildRowOf(change.build));
        return this.#run('DELETE FROM builds WHERE deployment = ? AND build <= ?', deployment, build - change.keep);
      }
      case 'undeployed':
        return this.#run('DELETE FROM builds WHERE deployment = ?', change.deployment);
      default:
        return assertNever(change);
    }
  }

  #see(sighting: Sighting): void {
    const { name, source, signature } = sighting;
    this.#insert('sightings', { name, source, signature });
  }

  /** In place of the row with the same key, where there may be one; a checkpoint's row is added once. */
  #insert(table: string, cells: Readonly<Record<string, string | number | null>>): void {
    const columns = Object.keys(cells);
    const verb = table === 'checkpoints' ? 'INSERT' : 'INSERT OR REPLACE';
    const values = columns.map(() => '?').join(', ');
    this.#run(`${verb} INTO ${table} (${columns.join(', ')}) VALUES (${values})`, ...Object.values(cells));
  }

  #run(sql: string, ...values: (string | number | null)[]): void {
    this.#prepared(sql).run(...values);
  }

  #prepared(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known) return known;
    const fresh = this.#db.prepare(sql);
    this.#statements.set(sql, fresh);
    return fresh;
  }
}

function migrate(db: DatabaseSync, file: string, migrations: readonly string[]): void {
  const version = Integer.parse(db.prepare('PRAGMA user_version').get()?.user_version);
  if (version > migrations.length) {
    throw new StepgateError(
      'conflict',
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

function makeOwn(file: string): void {
  try {
    closeSync(openSync(file, 'a', FILE_MODE));
  } catch (error) {
    throw explainOpening(error, file);
  }
}

function explainOpening(error: unknown, file: string): unknown {
  if (codeOf(error) === SQLITE_BUSY) {
    return new StepgateError(
      'conflict',
      `${file} is in use: another stepgate runs on this \`data\` directory. Stop it, or set another one.`,
      { cause: error },
    );
  }
  if (codeOf(error) === SQLITE_NOTADB) {
    const about = `${file} is not a stepgate registry. Move it away, or set another \`data\` directory.`;
    return new StepgateError('conflict', about, { cause: error });
  }
  return diskError(error, `${file} was not opened`);
}
