// The registry's one door: what exists, how it comes in and goes, and where its names lead. Each promise is kept in a file of its own
// (arrivals, ledger, aliases, pins, retention); this one puts them together. It knows neither router nor engines.
// A caller hears of a change after it is on the disk; then the catalog has it, and then `onChange` is told.
import { join, resolve } from 'node:path';
import {
  as,
  type BaseName,
  type Checkpoint,
  type CheckpointId,
  type CheckpointName,
  type Digest,
  type ModelName,
} from '../domain.ts';
import { StepgateError } from '../errors.ts';
import { AdapterIds } from './adapter-ids.ts';
import { AdapterStore } from './adapter-store.ts';
import { moveAlias } from './aliases.ts';
import { Arrivals, identify, notServable } from './arrivals.ts';
import { BEST_DEFAULT } from './best.ts';
import { Catalog } from './catalog.ts';
import { Database } from './database.ts';
import { checkFree, type DeletionParts, findLive, markDeleted } from './deletion.ts';
import { deployedSteps } from './deployed.ts';
import type { Found } from './discovery.ts';
import { makeOpenDirectory } from './disk.ts';
import { addHosted } from './hosted.ts';
import { CONFIG_FILE } from './inspect.ts';
import { hf } from './layouts/hf.ts';
import { Ledger } from './ledger.ts';
import { patch } from './metrics.ts';
import { checkCheckpointName, printName } from './name.ts';
import type {
  AliasMove,
  HostedRequest,
  RegisterRequest,
  RegistryOptions,
  RegistrySettings,
  RetainOptions,
} from './options.ts';
import { Pins } from './pins.ts';
import { judge, type Verdict } from './retention.ts';
import { Roots } from './roots.ts';
import { configureModels, rootsOf } from './settings.ts';
import type { Move, OthersRows, Store } from './store.ts';
import { neededBy } from './store-budget.ts';
import { Turns } from './turns.ts';
import { Watchers } from './watchers.ts';

export type * from './options.ts';
export type { Alias, Move, Pin } from './store.ts';

const HISTORY_DEFAULT = 1000;

interface Parts {
  readonly roots: Roots;
  readonly files: AdapterStore;
  readonly rows: Store;
  readonly pathOf: (digest: Digest) => string;
}

export class Registry {
  readonly catalog: Catalog;
  readonly pins: Pins;
  #options: RegistryOptions;
  readonly #roots: Roots;
  readonly #files: AdapterStore;
  readonly #rows: Store;
  readonly #ids = new AdapterIds();
  readonly #pathOf: (digest: Digest) => string;
  readonly #ledger: Ledger;
  readonly #arrivals: Arrivals;
  readonly #turns = new Turns<CheckpointName>();
  readonly #deletion: DeletionParts;
  readonly #stop = new AbortController();
  readonly #watchers: Watchers;
  #isWatching = false;

  private constructor(options: RegistryOptions, parts: Parts) {
    const { roots, files, rows, pathOf } = parts;
    const { nowMs, onChange } = options;
    this.#options = options;
    this.#roots = roots;
    this.#files = files;
    this.#rows = rows;
    this.#pathOf = pathOf;
    const catalog = new Catalog();
    this.catalog = catalog;
    this.#ledger = new Ledger({ catalog, rows, nowMs, tell: onChange });
    this.#arrivals = new Arrivals({ catalog, ledger: this.#ledger, files, ids: this.#ids, nowMs, pathOf });
    this.pins = new Pins({ catalog, rows, nowMs });
    this.#deletion = { catalog, ledger: this.#ledger, pins: this.pins, nowMs };
    this.#watchers = new Watchers({
      isKnown: (model, found) => this.#isKnown(nameOf(model, found.step), found),
      onFound: (model, found) => this.#find(model, found),
      onProblem: options.onProblem,
    });
  }

  /** Rejects with a sentence for people: the directory is in use, not writable, or was written by a newer version. */
  static async open(options: RegistryOptions): Promise<Registry> {
    const roots = new Roots(rootsOf(options));
    const dataDir = resolve(options.dataDir);
    const adapters = join(dataDir, 'adapters');
    await makeOpenDirectory(dataDir).catch((error: NodeJS.ErrnoException) => {
      const about = `\`data\`: ${dataDir} cannot be made or used (${error.code}): name a directory that this user may write to`;
      throw new StepgateError('storage_failed', about, { cause: error });
    });
    // Not `join`: a hundred thousand of these paths share the text of their two parts.
    const pathOf = (digest: Digest) => `${adapters}/${digest}`;
    // The database first: its lock says that no other process is taking adapters into the same store.
    const rows = new Database({ file: join(dataDir, 'registry.sqlite'), pathOf });
    try {
      const files = await AdapterStore.open(adapters, roots, { bytesMax: options.storeBytesMax });
      const registry = new Registry(options, { roots, files, rows, pathOf });
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
    const { name, model, step } = checked(request.name);
    const base = this.#baseOf(model, request.base);
    const checkpoint = await this.#inTurn(name, async () => {
      const dir = await this.#roots.find(request.path);
      if (dir === undefined) {
        const message = `There is no directory ${request.path} on the gateway's machine. Give the directory that holds ${CONFIG_FILE}.`;
        throw new StepgateError('checkpoint_invalid', message, { param: 'path' });
      }
      const { replace = true, source } = request;
      const details = () => hf.details(dir, step ?? Number.MAX_SAFE_INTEGER);
      return this.#arrivals.take({ name, model, step, base, dir, source, how: 'asked', replace, details });
    });
    if (checkpoint.state.kind === 'unservable') throw notServable(name, checkpoint.state.reasons);
    return checkpoint;
  }

  /** Before its files are fetched: whether `register` would take the name. Errors: invalid_request, conflict. */
  checkName(name: string): void {
    this.#arrivals.checkFree(checked(name).name);
  }

  /** Without files: services find it by its name. Idempotent. Errors: invalid_request, conflict, storage_full. */
  registerHosted(request: HostedRequest): Promise<Checkpoint> {
    const { name, model, step } = checked(request.name);
    const base = this.#baseOf(model, request.base);
    const { nowMs } = this.#options;
    return this.#inTurn(name, () =>
      addHosted({ catalog: this.catalog, ledger: this.#ledger, nowMs }, { name, model, step, base }),
    );
  }

  #baseOf(model: ModelName, base: string | undefined): BaseName | undefined {
    return base === undefined ? this.#options.models.get(model)?.base : as<BaseName>(base);
  }

  /** The name is answered with checkpoint_deleted from now on.
   *  Errors: model_not_found, checkpoint_deleted, conflict (a pin, an alias or a deployment keeps it), storage_full. */
  remove(name: string, who = 'admin'): Checkpoint {
    const checkpoint = findLive(this.catalog, name);
    checkFree(this.#deletion, checkpoint);
    const [deleted] = markDeleted(this.#deletion, { model: checkpoint.model, checkpoints: [checkpoint], who });
    return deleted ?? checkpoint;
  }

  /** Sets metrics, or removes those that are null. Errors: model_not_found, checkpoint_deleted, invalid_request, storage_full. */
  patch(name: string, metrics: Readonly<Record<string, number | null>>, who: string): Checkpoint {
    return patch({ catalog: this.catalog, ledger: this.#ledger }, findLive(this.catalog, name), { metrics, who });
  }

  /** Moves `latest`. Errors: model_not_found where the model has no such step; storage_full, though it has moved until a restart. */
  setLatest(model: ModelName, checkpoint: CheckpointId): void {
    this.#ledger.write({
      model,
      who: 'promotion',
      apply: () => {
        if (this.catalog.setLatest(model, checkpoint))
          return { value: undefined, changes: [{ kind: 'promoted', model, checkpoint }], news: [], undo: () => {} };
        const message = `"${model}" has no step with the id ${checkpoint}.`;
        throw new StepgateError('model_not_found', message, { param: 'checkpoint' });
      },
    });
  }

  /** Sets, moves or removes an alias; see `moveAlias` in aliases.ts for its errors. */
  moveAlias(move: AliasMove): void {
    moveAlias({ catalog: this.catalog, ledger: this.#ledger, nowMs: this.#options.nowMs }, move);
  }

  /** Every name that moves and where it leads now: `latest` and `best` where they lead anywhere, then the aliases. */
  names(model: string): readonly { readonly alias: string; readonly step: number }[] {
    const { catalog } = this;
    const computed = (['latest', 'best'] as const).flatMap((alias) => {
      const step = catalog[alias](model)?.step;
      return step === undefined ? [] : { alias, step };
    });
    return [...computed, ...catalog.aliases(model).map(({ alias, step }) => ({ alias, step }))];
  }

  /** Newest first: moves of the aliases, of `latest` and of `best`. */
  history(model: string, limit = HISTORY_DEFAULT): readonly Move[] {
    return this.#rows.history(as<ModelName>(model), limit);
  }

  /** Where the gateway's other rooms write down what is theirs: reservations, cordons, backends, engines, deployments, keys, the audit log. */
  get others(): OthersRows {
    return this.#rows;
  }

  /** Deletes the steps that the model's `keep` does not keep, and says of each checkpoint why it stays or goes. Errors: storage_full. */
  retain(model: string, { dryRun, who, leased }: RetainOptions): readonly Verdict[] {
    const settings = this.catalog.settings(model);
    const verdicts = judge({
      checkpoints: this.catalog.checkpoints(model),
      keep: settings?.keep,
      best: settings?.best ?? BEST_DEFAULT,
      names: this.names(model),
      deployments: deployedSteps(this.catalog, model),
      pins: this.pins.of(model),
      leased,
    });
    const gone = verdicts.filter(({ keep }) => !keep).map(({ checkpoint }) => checkpoint);
    if (!dryRun && gone.length > 0)
      markDeleted(this.#deletion, { model: as<ModelName>(model), checkpoints: gone, who });
    return verdicts;
  }

  /**
   * Where the store keeps the weights that engines know by this name, those of replaced and deleted revisions too: an engine may hold them still.
   * Undefined: no name of ours.
   */
  pathOf(adapter: string): string | undefined {
    const digest = this.#ids.digestOf(adapter);
    return digest && this.#pathOf(digest);
  }

  /** Sets room for content aside that is on its way to the store, until the returned function is called. Throws storage_full. */
  promiseBytes(bytes: number, source: string): () => void {
    return this.#files.promise(bytes, source);
  }

  /** Bytes that the adapter store holds. */
  get storeBytes(): number {
    return this.#files.bytes;
  }

  /** Removes content that no live checkpoint stands for and nobody uses; `inUse`: adapter ids, or digests. Resolves with the bytes freed. */
  sweepStore(inUse: ReadonlySet<string>): Promise<number> {
    const needed = new Set<string>(neededBy(this.catalog.all()));
    for (const used of inUse) needed.add(this.#ids.digestOf(used) ?? used);
    return this.#files.sweep(needed);
  }

  /** Starts discovery in every model's watched directory, and follows the config in that from now on; `close` ends it. */
  watch(): void {
    this.#isWatching = true;
    this.#watchers.follow(this.#options.models, this.#options);
  }

  /** Goes by other settings from now on. What is being taken is taken as it was begun. */
  configure(settings: RegistrySettings): void {
    const before = this.#options.models;
    this.#options = { ...this.#options, ...settings };
    this.#roots.allow(rootsOf(settings));
    this.#files.limit(settings.storeBytesMax);
    configureModels({ ...this.#deletion, onProblem: this.#options.onProblem }, before, settings.models);
    if (this.#isWatching) this.#watchers.follow(settings.models, settings);
  }

  async #find(model: ModelName, { step, dir, details }: Found): Promise<void> {
    const name = nameOf(model, step);
    const base = this.#options.models.get(model)?.base;
    const arrival = { name, model, step, base, dir, how: 'found', replace: true, details } as const;
    await this.#inTurn(name, () => this.#arrivals.take(arrival));
  }

  /** Ends discovery and waits for what is being taken. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#watchers.close();
    await Promise.allSettled([this.#turns.settled()]);
    this.#rows.close();
  }

  async #load(): Promise<void> {
    for (const [model, settings] of this.#options.models) this.catalog.setModel(model, settings);
    const stored = await this.#files.contents();
    // Ascending steps go to the end of their model's list; of one name the last revision counts, and the sort keeps their order.
    for (const checkpoint of this.#rows.checkpoints().toSorted((a, b) => (a.step ?? -1) - (b.step ?? -1))) {
      this.#ids.remember(checkpoint);
      const lost = checkpoint.state.kind === 'servable' && checkpoint.adapter && !stored.has(checkpoint.adapter.digest);
      this.catalog.put(lost ? { ...checkpoint, state: LOST } : checkpoint);
    }
    for (const [model, id] of this.#rows.promoted()) this.catalog.setLatest(model, id);
    for (const alias of this.#rows.aliases()) this.catalog.setAlias(alias);
  }

  #isKnown(name: CheckpointName, found: Found): boolean {
    return this.catalog.find(name)?.state !== LOST && this.#rows.seen(name, found.dir) === found.signature;
  }

  /** One arrival at a time under one name. */
  async #inTurn<T>(name: CheckpointName, work: () => Promise<T>): Promise<T> {
    if (!this.#stop.signal.aborted) return this.#turns.take(name, work);
    throw new StepgateError('shutting_down', 'The gateway is stopping: nothing is registered any more.');
  }
}

/** @throws StepgateError invalid_request */
function checked(text: string): ReturnType<typeof identify> {
  const problem = checkCheckpointName(text);
  if (problem !== undefined) throw new StepgateError('invalid_request', problem, { param: 'name' });
  return identify(text);
}

const nameOf = (model: ModelName, step: number): CheckpointName =>
  as<CheckpointName>(printName({ kind: 'step', model, step }));

/** Rows whose files somebody removed from the store; compared by identity. */
const LOST: Checkpoint['state'] = {
  kind: 'unservable',
  reasons: ['Its files are gone from the data directory. Register it again.'],
};
