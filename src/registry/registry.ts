// The registry's one door: takes adapters into the store, writes them down, keeps the catalog true, and tells what changed.
// In that order: a caller hears "registered" after the files and the row are on the disk. It knows neither router nor engines.
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import {
  type Adapter,
  as,
  type BaseName,
  type Checkpoint,
  type CheckpointId,
  type CheckpointName,
  type ModelName,
  NO_DETAILS,
} from '../domain.ts';
import { StepgateError } from '../errors.ts';
import { AdapterIds } from './adapter-ids.ts';
import { AdapterStore, type Taken } from './adapter-store.ts';
import { Catalog } from './catalog.ts';
import { Database, type Store } from './database.ts';
import { type Found, watchDirectory } from './discovery.ts';
import { CONFIG_FILE, inspect, type Signature, WEIGHTS_FILE } from './inspect.ts';
import { LAYOUTS } from './layouts/layouts.ts';
import { checkCheckpointName, parseName, printName } from './name.ts';
import type { RegisterRequest, RegistryOptions } from './options.ts';
import { preflight } from './preflight.ts';
import { Roots } from './roots.ts';

export type { RegisterRequest, RegistryChange, RegistryOptions } from './options.ts';

/** One checkpoint on its way in. */
interface Arrival {
  readonly name: CheckpointName;
  readonly model: ModelName;
  readonly step: number | undefined;
  readonly base: BaseName | undefined;
  readonly dir: string;
  /** Asked for by a caller, who is told of a refusal; or found, when a refusal is written down. */
  readonly how: 'asked' | 'found';
}

/** How often files that change under the copy are tried again. */
const ATTEMPTS_MAX = 3;

export class Registry {
  readonly catalog = new Catalog();
  readonly #options: RegistryOptions;
  readonly #roots: Roots;
  readonly #files: AdapterStore;
  readonly #rows: Store;
  readonly #ids = new AdapterIds();
  /** The last arrival under way per name: the next one of that name waits for it. */
  readonly #underWay = new Map<CheckpointName, Promise<unknown>>();
  readonly #stop = new AbortController();
  readonly #watches: Promise<void>[] = [];

  private constructor(options: RegistryOptions, parts: { roots: Roots; files: AdapterStore; rows: Store }) {
    this.#options = options;
    this.#roots = parts.roots;
    this.#files = parts.files;
    this.#rows = parts.rows;
  }

  /** Rejects with a sentence for people: the directory is in use, not writable, or was written by a newer version. */
  static async open(options: RegistryOptions): Promise<Registry> {
    const watched = [...options.models.values()].flatMap((model) => model.watch ?? []);
    const roots = new Roots(options.roots.length === 0 ? [] : [...options.roots, ...watched]);
    const dataDir = resolve(options.dataDir);
    const adapters = join(dataDir, 'adapters');
    await mkdir(dataDir, { recursive: true });
    // The database first: its lock says that no other process is taking adapters into the same store.
    const rows = new Database({
      file: join(dataDir, 'registry.sqlite'),
      pathOf: (digest) => join(adapters, digest),
    });
    try {
      const registry = new Registry(options, { roots, files: await AdapterStore.open(adapters, roots), rows });
      await registry.#load();
      return registry;
    } catch (error) {
      rows.close();
      throw error;
    }
  }

  /** Idempotent: the same content under the same name is the same checkpoint. Resolves when files and row are on the disk.
   *  Errors: invalid_request, conflict, path_not_allowed, checkpoint_invalid, checkpoint_not_servable, storage_full. */
  async register(request: RegisterRequest): Promise<Checkpoint> {
    const problem = checkCheckpointName(request.name);
    if (problem !== undefined) throw new StepgateError('invalid_request', problem, { param: 'name' });
    const { name, model, step } = identify(request.name);
    const base = request.base === undefined ? this.#options.models.get(model)?.base : as<BaseName>(request.base);
    const checkpoint = await this.#inTurn(name, async () => {
      const dir = await this.#roots.find(request.path);
      if (dir !== undefined) return this.#arrive({ name, model, step, base, dir, how: 'asked' });
      const message = `There is no directory ${request.path} on the gateway's machine. Give the directory that holds ${CONFIG_FILE}.`;
      throw new StepgateError('checkpoint_invalid', message, { param: 'path' });
    });
    if (checkpoint.state.kind === 'unservable') throw notServable(name, checkpoint.state.reasons);
    return checkpoint;
  }

  /** The name is answered with checkpoint_deleted from now on. Errors: model_not_found, checkpoint_deleted. */
  remove(name: string): Checkpoint {
    const checkpoint = this.catalog.find(name);
    if (!checkpoint) {
      const answer = this.catalog.resolve(name);
      const message =
        answer.kind === 'refused' ? answer.message : `"${name}" is not the name of one checkpoint. Name the step.`;
      throw new StepgateError('model_not_found', message, { param: 'name' });
    }
    if (checkpoint.state.kind === 'deleted') {
      throw new StepgateError('checkpoint_deleted', `"${checkpoint.name}" was deleted already.`, { param: 'name' });
    }
    const atMs = this.#options.nowMs();
    const deleted: Checkpoint = { ...checkpoint, state: { kind: 'deleted', atMs } };
    this.#rows.markDeleted(deleted.id, atMs);
    this.catalog.put(deleted);
    this.#options.onChange({ kind: 'deleted', checkpoint: deleted });
    return deleted;
  }

  /** Moves `latest`. Errors: model_not_found where the model has no such step. */
  setLatest(model: ModelName, checkpoint: CheckpointId): void {
    if (!this.catalog.setLatest(model, checkpoint)) {
      throw new StepgateError('model_not_found', `"${model}" has no step with the id ${checkpoint}.`, {
        param: 'checkpoint',
      });
    }
    this.#rows.setLatest(model, checkpoint);
  }

  /** Starts discovery in every model's watched directory; `close` ends it. */
  watch(): void {
    for (const [model, { watch: dir, base }] of this.#options.models) {
      if (dir === undefined) continue;
      const nameOf = (found: Found) => as<CheckpointName>(printName({ kind: 'step', model, step: found.step }));
      const watch = watchDirectory({
        dir: resolve(dir),
        layout: LAYOUTS.hf,
        settleMs: this.#options.settleMs,
        rescanMs: this.#options.rescanMs,
        isKnown: (found) => this.#isKnown(nameOf(found), found),
        onFound: async (found) => {
          const arrival: Arrival = { name: nameOf(found), model, step: found.step, base, dir: found.dir, how: 'found' };
          await this.#inTurn(arrival.name, () => this.#arrive(arrival));
        },
        onProblem: this.#options.onProblem,
        signal: this.#stop.signal,
      });
      this.#watches.push(watch);
    }
  }

  /** Ends discovery and waits for what is being taken. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled([...this.#watches, ...this.#underWay.values()]);
    this.#rows.close();
  }

  async #load(): Promise<void> {
    for (const [model, settings] of this.#options.models) this.catalog.setModel(model, settings);
    const stored = await this.#files.contents();
    for (const checkpoint of this.#rows.checkpoints()) {
      this.#ids.remember(checkpoint);
      const lost = checkpoint.state.kind === 'servable' && checkpoint.adapter && !stored.has(checkpoint.adapter.digest);
      this.catalog.put(lost ? { ...checkpoint, state: LOST } : checkpoint);
    }
    for (const [model, id] of this.#rows.latest()) this.catalog.setLatest(model, id);
  }

  #isKnown(name: CheckpointName, found: Found): boolean {
    return this.catalog.find(name)?.state !== LOST && this.#rows.seen(name, found.dir) === found.signature;
  }

  /** One arrival at a time under one name. */
  async #inTurn<T>(name: CheckpointName, work: () => Promise<T>): Promise<T> {
    if (this.#stop.signal.aborted)
      throw new StepgateError('shutting_down', 'The gateway is stopping: nothing is registered any more.');
    const turn = (this.#underWay.get(name) ?? Promise.resolve()).then(work, work);
    this.#underWay.set(name, turn);
    try {
      return await turn;
    } finally {
      if (this.#underWay.get(name) === turn) this.#underWay.delete(name);
    }
  }

  async #arrive(arrival: Arrival): Promise<Checkpoint> {
    if (this.catalog.hasBase(arrival.name)) {
      const message = `"${arrival.name}" is a base model's name: a checkpoint of that name would hide it. Choose another.`;
      throw new StepgateError('conflict', message, { param: 'name' });
    }
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      for (const file of [CONFIG_FILE, WEIGHTS_FILE]) await this.#roots.admit(join(arrival.dir, file));
      const inspection = await inspect(arrival.dir);
      if (inspection.kind === 'incomplete')
        throw new StepgateError('checkpoint_invalid', inspection.missing, { param: 'path' });
      const verdict = preflight(inspection.contents);
      if (verdict.kind === 'unservable') return this.#refuse(arrival, inspection.signature, verdict.reasons);
      const taken = await this.#files.take(arrival.dir, inspection.signature);
      if (taken) return this.#accept(arrival, inspection.signature, { ...taken, rank: verdict.rank });
    }
    const message = `The files in ${arrival.dir} change while they are read. Register them when the trainer has finished.`;
    throw new StepgateError('checkpoint_invalid', message, { param: 'path' });
  }

  #accept(arrival: Arrival, signature: Signature, taken: Taken & { readonly rank: number }): Checkpoint {
    const current = this.catalog.find(arrival.name);
    const same =
      current?.state.kind === 'servable' && current.adapter?.digest === taken.digest && current.base === arrival.base;
    if (current && same) {
      this.#rows.see({ name: arrival.name, source: arrival.dir, signature });
      return current;
    }
    const adapter: Adapter = {
      id: this.#ids.idFor(arrival.name, taken.digest),
      path: this.#files.pathOf(taken.digest),
      ...taken,
    };
    return this.#add({ arrival, signature, adapter, state: { kind: 'servable' } });
  }

  /** A caller's mistake does not take away what is served under the name; a trainer that wrote the step again does. */
  #refuse(arrival: Arrival, signature: Signature, reasons: readonly string[]): Checkpoint {
    const current = this.catalog.find(arrival.name);
    if (current?.state.kind === 'servable' && arrival.how === 'asked') throw notServable(arrival.name, reasons);
    const same =
      current?.state.kind === 'unservable' &&
      current.state.reasons.join() === reasons.join() &&
      current.source === arrival.dir;
    if (current && same) {
      this.#rows.see({ name: arrival.name, source: arrival.dir, signature });
      return current;
    }
    return this.#add({ arrival, signature, adapter: undefined, state: { kind: 'unservable', reasons } });
  }

  #add(fresh: {
    arrival: Arrival;
    signature: Signature;
    adapter: Adapter | undefined;
    state: Checkpoint['state'];
  }): Checkpoint {
    const { name, model, step, base, dir } = fresh.arrival;
    const current = this.catalog.find(name);
    const checkpoint: Checkpoint = {
      id: as<CheckpointId>(randomUUID()),
      name,
      model,
      step,
      revision: (current?.revision ?? 0) + 1,
      adapter: fresh.adapter,
      base,
      source: dir,
      createdAtMs: this.#options.nowMs(),
      state: fresh.state,
      details: NO_DETAILS,
    };
    this.#rows.add(checkpoint, { name, source: dir, signature: fresh.signature });
    this.#ids.remember(checkpoint);
    this.catalog.put(checkpoint);
    const retires = current?.state.kind !== 'deleted' && current?.adapter?.id !== checkpoint.adapter?.id;
    const replaced = retires ? current : undefined;
    this.#options.onChange({
      kind: fresh.state.kind === 'unservable' ? 'unservable' : 'registered',
      checkpoint,
      replaced,
    });
    return checkpoint;
  }
}

/** Rows whose files somebody removed from the store; compared by identity. */
const LOST: Checkpoint['state'] = {
  kind: 'unservable',
  reasons: ['Its files are gone from the data directory. Register it again.'],
};

function identify(text: string): Pick<Arrival, 'name' | 'model' | 'step'> {
  const parsed = parseName(text);
  if (parsed.kind === 'step') return { name: as(printName(parsed)), model: as(parsed.model), step: parsed.step };
  return { name: as(text), model: as(text), step: undefined };
}

const notServable = (name: string, reasons: readonly string[]): StepgateError =>
  new StepgateError('checkpoint_not_servable', `"${name}" cannot be served: ${reasons.join(' ')}`, { param: 'path' });
