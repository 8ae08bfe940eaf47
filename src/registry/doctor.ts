// Examines a data directory while no gateway runs on it: whether the database is sound, whether its rows and the store's files agree,
// and what lies about. It changes nothing unless asked to repair, and never removes what an engine may have been told of.
import { existsSync } from 'node:fs';
import { chmod, lstat, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { isDigest, isLeftover } from './adapter-store.ts';
import { barrierTo, DIGEST_ORDER, DIRECTORY_MODE, digestOfDirectory, FILE_MODE } from './disk.ts';
import { DoctorRows, type KnownRow } from './doctor-rows.ts';
import { statOrNothing } from './inspect.ts';

export interface Finding {
  readonly kind: 'database' | 'lost' | 'damaged' | 'orphan' | 'leftover' | 'permissions' | 'unknown';
  /** A note is no problem by itself: for people to judge. */
  readonly severity: 'problem' | 'note';
  /** A checkpoint's name, or a path. */
  readonly what: string;
  /** A sentence: what is wrong. */
  readonly about: string;
  /** A phrase: what a repair does, or what a person is to do. */
  readonly remedy: string;
  readonly state: 'repaired' | 'repairable' | 'yours';
}

export interface Examination {
  /** Names that are not deleted. */
  readonly checkpoints: number;
  readonly adapters: number;
  readonly bytes: number;
  /** Contents of deleted or replaced checkpoints: a gateway frees them when no engine can read them. */
  readonly toBeFreed: number;
  readonly findings: readonly Finding[];
}

export interface ExamineOptions {
  readonly repair: boolean;
  /** Read every file and take its digest again. */
  readonly deep: boolean;
}

const DATABASE = 'registry.sqlite';
const ADAPTERS = 'adapters';
/** Where damaged content is put, for people to look at. */
const DAMAGED = 'damaged';
const OURS = new Set([DATABASE, `${DATABASE}-wal`, `${DATABASE}-shm`, `${DATABASE}-journal`, ADAPTERS, DAMAGED]);

/** Rejects with a sentence for people: no such directory, or a gateway runs on it. */
export async function examine(dataDir: string, options: ExamineOptions): Promise<Examination> {
  if (!(await statOrNothing(dataDir))?.isDirectory())
    throw new Error(`${dataDir} is no directory: name the gateway's data directory with --data, or its --config`);
  return new Doctor(dataDir, options).examine();
}

class Doctor {
  readonly #dir: string;
  readonly #options: ExamineOptions;
  readonly #findings: Finding[] = [];
  #adapters = 0;
  #bytes = 0;
  #toBeFreed = 0;

  constructor(dir: string, options: ExamineOptions) {
    this.#dir = dir;
    this.#options = options;
  }

  async examine(): Promise<Examination> {
    const file = join(this.#dir, DATABASE);
    let live: KnownRow[] = [];
    let rows: DoctorRows | undefined;
    try {
      rows = existsSync(file) ? this.#open(file) : this.#withoutDatabase();
      // Without rows that can be trusted nothing can be told of the files, and nothing is touched.
      if (rows !== undefined) {
        live = rows.current().filter(({ state }) => state !== 'deleted');
        await this.#checkStore(rows, live);
      }
      await this.#checkUnknown();
      await this.#checkWay();
    } finally {
      rows?.close();
    }
    const [adapters, bytes, toBeFreed] = [this.#adapters, this.#bytes, this.#toBeFreed];
    return { checkpoints: live.length, adapters, bytes, toBeFreed, findings: this.#findings };
  }

  #open(file: string): DoctorRows | undefined {
    let rows: DoctorRows | undefined;
    let problems: string[];
    try {
      rows = new DoctorRows(file);
      problems = rows.problems();
    } catch (error) {
      rows?.close();
      if (!(error instanceof Error && 'errcode' in error)) throw error;
      problems = [`SQLite says: ${error.message}`];
    }
    if (problems.length === 0) return rows;
    rows?.close();
    const remedy =
      'restore the file from a backup; or move it away, and the gateway registers again what the trainers still have (aliases, pins and deletions are lost)';
    for (const about of problems) this.#find({ kind: 'database', what: DATABASE, about, remedy });
    return undefined;
  }

  #withoutDatabase(): undefined {
    if (existsSync(join(this.#dir, ADAPTERS)))
      this.#find({
        kind: 'database',
        what: DATABASE,
        about: 'it is not there, though the adapter store is',
        remedy: 'restore it from a backup; without it nobody knows which checkpoint each adapter is',
      });
  }

  async #checkStore(rows: DoctorRows, live: readonly KnownRow[]): Promise<void> {
    const dir = join(this.#dir, ADAPTERS);
    const entries = existsSync(dir) ? await readdir(dir) : [];
    const kept = new Set(entries.filter(isDigest));
    const needing = Map.groupBy(
      live.filter(({ digest, state }) => digest !== undefined && state === 'servable'),
      (row) => row.digest as string,
    );
    for (const [digest, named] of needing) {
      if (kept.has(digest as never)) await this.#checkContent(rows, digest, named);
      else this.#lose(rows, named, 'its files are gone from the adapter store');
    }
    const told = rows.everTold();
    for (const digest of kept) {
      if (needing.has(digest)) continue;
      if (told.has(digest)) this.#toBeFreed++;
      else
        await this.#findAnd(() => rm(join(dir, digest), { recursive: true }), {
          kind: 'orphan',
          what: join(ADAPTERS, digest),
          about: 'no checkpoint was ever written down for it: a registration was cut short before it was acknowledged',
          remedy: 'remove it',
        });
    }
    for (const entry of entries) {
      if (isLeftover(entry))
        await this.#findAnd(() => rm(join(dir, entry), { recursive: true }), {
          kind: 'leftover',
          what: join(ADAPTERS, entry),
          about: 'it was on its way in or out when a gateway died',
          remedy: 'remove it (the next start does so too)',
        });
      else if (!isDigest(entry)) this.#unknown(join(ADAPTERS, entry));
    }
  }

  async #checkContent(rows: DoctorRows, digest: string, named: readonly KnownRow[]): Promise<void> {
    const dir = join(this.#dir, ADAPTERS, digest);
    const about = await this.#damageOf(dir, digest, named[0]?.bytes ?? 0);
    if (about !== undefined) {
      const away = join(this.#dir, DAMAGED, `${digest}-${Date.now()}`);
      this.#lose(rows, named, about, 'damaged');
      if (!this.#options.repair) return;
      await mkdir(join(this.#dir, DAMAGED), { recursive: true });
      return rename(dir, away);
    }
    this.#adapters++;
    this.#bytes += named[0]?.bytes ?? 0;
    for (const name of await readdir(dir))
      if (!DIGEST_ORDER.includes(name)) this.#unknown(join(ADAPTERS, digest, name));
    await this.#checkMode(named, dir, DIRECTORY_MODE);
    for (const name of DIGEST_ORDER) await this.#checkMode(named, join(dir, name), FILE_MODE);
  }

  /** Why the content is not what its name says, or undefined when it is. */
  async #damageOf(dir: string, digest: string, bytes: number): Promise<string | undefined> {
    let found = 0;
    for (const name of DIGEST_ORDER) {
      const file = await lstat(join(dir, name)).catch(() => undefined);
      if (file === undefined) return `${name} is gone from the adapter store`;
      if (!file.isFile()) return `${name} is no regular file in the adapter store`;
      found += file.size;
    }
    if (found !== bytes) return `its files hold ${found} bytes in the adapter store, and ${bytes} were taken`;
    if (!this.#options.deep) return undefined;
    const actual = await digestOfDirectory(dir);
    return actual.digest === digest
      ? undefined
      : 'its files were changed in the adapter store: their digest is another';
  }

  /** The rows are marked before the files are moved: what is marked and still there is found again, the other way round it were lost. */
  #lose(rows: DoctorRows, named: readonly KnownRow[], about: string, kind: 'lost' | 'damaged' = 'lost'): void {
    const moved = kind === 'damaged' ? ` and move its files to ${DAMAGED}/` : '';
    const remedy = `mark it not servable${moved}; a gateway takes it again where the trainer still has it, else register it again`;
    for (const row of named) {
      if (this.#options.repair)
        rows.markUnservable(row, `${about[0]?.toUpperCase()}${about.slice(1)}. Register it again.`);
      this.#find({ kind, what: row.name, about, remedy }, this.#options.repair ? 'repaired' : 'repairable');
    }
  }

  async #checkMode(named: readonly KnownRow[], path: string, wanted: number): Promise<void> {
    const mode = (await stat(path)).mode & 0o777;
    if (mode === wanted) return;
    await this.#findAnd(() => chmod(path, wanted), {
      kind: 'permissions',
      what: named.map(({ name }) => name).join(', '),
      about: `the mode of its ${wanted === FILE_MODE ? basename(path) : 'directory'} in the adapter store is ${mode.toString(8)}: an engine of another user may not read it, or somebody may change it`,
      remedy: `set it to ${wanted.toString(8)}`,
    });
  }

  async #checkUnknown(): Promise<void> {
    for (const entry of await readdir(this.#dir)) if (!OURS.has(entry)) this.#unknown(entry);
  }

  #unknown(path: string): void {
    const finding = {
      kind: 'unknown',
      what: path,
      about: 'stepgate did not put it there',
      remedy: 'left alone',
    } as const;
    this.#find(finding, 'yours', 'note');
  }

  async #checkWay(): Promise<void> {
    const adapters = join(this.#dir, ADAPTERS);
    const barrier = await barrierTo(existsSync(adapters) ? adapters : this.#dir);
    if (barrier === undefined) return;
    const finding = {
      kind: 'permissions',
      what: barrier,
      about: 'other users may not pass this directory, so an engine that runs as another user cannot read the adapters',
      remedy: `if yours does: chmod o+x ${barrier}`,
    } as const;
    this.#find(finding, 'yours', 'note');
  }

  async #findAnd(repair: () => Promise<void>, finding: Omit<Finding, 'state' | 'severity'>): Promise<void> {
    if (this.#options.repair) await repair();
    this.#find(finding, this.#options.repair ? 'repaired' : 'repairable');
  }

  #find(
    finding: Omit<Finding, 'state' | 'severity'>,
    state: Finding['state'] = 'yours',
    severity: Finding['severity'] = 'problem',
  ): void {
    this.#findings.push({ ...finding, state, severity });
  }
}
