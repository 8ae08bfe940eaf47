// Keeps engines in step with the registry: carries out the loads and unloads that the router asks for, and tells the router what was
// published or retired. It decides neither; one load or unload ends in one event.
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Backend } from './backends/backend.ts';
import {
  type AdapterId,
  assertNever,
  type BackendName,
  type BaseModel,
  type BaseName,
  type Checkpoint,
  type CheckpointId,
  type CheckpointName,
  type ModelName,
  onlyBase,
  type Weights,
  type Why,
  weightsOf,
} from './domain.ts';
import { StepgateError } from './errors.ts';
import type { Fleet } from './fleet.ts';
import type { Journal } from './journal.ts';
import type { Metrics } from './metrics.ts';
import type { Registry, RegistryChange } from './registry/registry.ts';
import type { RouterEvent } from './router/events.ts';
import type { RouterState } from './router/state.ts';
import { adapterTargetOf } from './targets.ts';

export interface AdaptersParts {
  readonly registry: Registry;
  readonly fleet: Fleet;
  readonly metrics: Metrics;
  readonly journal: Journal;
  readonly log: Logger;
  /** Read only. */
  readonly state: RouterState;
  readonly feed: (event: RouterEvent) => void;
}

/** A failed unload is reported to the router only after this: an engine that always refuses must not be asked in a loop. */
const UNLOAD_BACKOFF_MS = 1000;

/** A checkpoint, or a model that has none yet. */
type Named = { readonly name: string } & Pick<Checkpoint, 'model' | 'base'>;

interface Move {
  readonly backend: BackendName;
  readonly adapter: AdapterId;
  readonly why: Why;
}

export class Adapters {
  readonly #parts: AdaptersParts;
  /** Every adapter that an engine may still hold, by the name it was told. */
  readonly #known = new Map<string, Weights>();
  readonly #promoted = new Map<ModelName, CheckpointId>();
  /** Models whose retention is about to run. */
  readonly #retaining = new Set<ModelName>();

  constructor(parts: AdaptersParts) {
    this.#parts = parts;
    const { catalog } = parts.registry;
    for (const model of catalog.models())
      for (const checkpoint of catalog.checkpoints(model)) this.#remember(checkpoint);
  }

  #remember(checkpoint: Checkpoint): void {
    const weights = weightsOf(checkpoint);
    if (weights !== undefined) this.#known.set(weights.id, weights);
  }

  /** Where the store keeps what an engine lists under this name; undefined: not ours. */
  pathOf(name: string): string | undefined {
    return this.#parts.registry.pathOf(name);
  }

  /** What callers call the adapter that engines know by this name. */
  nameOf(adapter: AdapterId): CheckpointName | undefined {
    return this.#known.get(adapter)?.checkpoint.name;
  }

  async load(move: Move): Promise<void> {
    const { fleet, metrics, journal, log, feed } = this.#parts;
    const { backend, adapter } = move;
    this.#say('load', move);
    const since = performance.now();
    const known = this.#known.get(adapter);
    const engine = fleet.get(backend);
    const { life } = engine;
    const outcome = known
      ? await engine.load(known)
      : ({ kind: 'failed', fault: 'adapter', message: 'it is not in the store' } as const);
    const tookMs = performance.now() - since;
    if (!this.#isStill(engine, life)) return this.#sayOver('load', move);
    if (outcome.kind === 'loaded') {
      metrics.loaded(backend, tookMs);
      log.info({ ...move, tookMs }, 'loaded');
      journal.tell({ type: 'loaded', backend, adapter, tookMs });
      return feed({ type: 'loaded', backend, adapter });
    }
    const { fault } = outcome;
    metrics.loadFailed(backend, fault);
    log.warn({ ...move, fault, about: outcome.message }, 'load failed');
    journal.tell({ type: 'loadFailed', backend, adapter, about: outcome.message });
    const message = `engine ${backend} could not load ${adapter}: ${outcome.message}`;
    feed({ type: 'loadFailed', backend, adapter, fault, message });
  }

  async unload(move: Move): Promise<void> {
    const { fleet, metrics, journal, log, feed } = this.#parts;
    const { backend, adapter, why } = move;
    this.#say('unload', move);
    metrics.unloading(backend, why);
    const since = performance.now();
    const engine = fleet.get(backend);
    const { life } = engine;
    const outcome = await engine.unload(adapter);
    if (!this.#isStill(engine, life)) return this.#sayOver('unload', move);
    if (outcome.kind === 'unloaded') {
      journal.tell({ type: 'unloaded', backend, adapter, tookMs: performance.now() - since });
      return feed({ type: 'unloaded', backend, adapter });
    }
    log.warn({ ...move, about: outcome.message }, 'unload failed');
    await sleep(UNLOAD_BACKOFF_MS, undefined, { ref: false });
    if (this.#isStill(engine, life)) feed({ type: 'unloadFailed', backend, adapter });
  }

  /**
   * Of an engine that left, was replaced, or went down since, nothing is to be told: the router has heard that it holds nothing, and may have asked
   * for the same again in its next life.
   */
  #isStill(engine: Backend, life: Backend['life']): boolean {
    return this.#parts.fleet.has(engine) && engine.life === life;
  }

  #sayOver(type: 'load' | 'unload', move: Move): void {
    this.#parts.log.info(move, `${type} ended with its engine`);
  }

  #say(type: 'load' | 'unload', move: Move): void {
    this.#parts.log.info(move, type);
    this.#parts.journal.tell({ type, ...move });
  }

  promote(model: ModelName, id: CheckpointId): void {
    const { registry, journal, log } = this.#parts;
    if (this.#promoted.get(model) === id) return;
    this.#promoted.set(model, id);
    try {
      registry.setLatest(model, id);
    } catch (error) {
      // It moved in memory; after a restart it moves again, as soon as an engine is warm.
      log.error({ model, err: error }, 'latest could not be written down');
    }
    const checkpoint = registry.catalog.latest(model)?.name;
    if (checkpoint === undefined) return;
    journal.tell({ type: 'promoted', model, checkpoint });
    log.info({ model, checkpoint }, 'latest moved');
  }

  /** The registry's news, for engines and people. */
  onChange(change: RegistryChange): void {
    const { journal, log } = this.#parts;
    if (change.kind === 'moved') {
      const { model, alias, by } = change;
      const checkpoint = change.checkpoint?.name;
      log.info({ model, alias, checkpoint, by }, 'name moved');
      return journal.tell({ type: 'moved', model, alias, checkpoint, by });
    }
    const { checkpoint } = change;
    const { name, model, revision, source, state } = checkpoint;
    this.#remember(checkpoint);
    switch (change.kind) {
      case 'registered':
        log.info({ checkpoint: name, revision, source }, 'registered');
        journal.tell({ type: 'registered', checkpoint: name, revision, source });
        this.#retire(change.replaced);
        break;
      case 'unservable': {
        const reasons = state.kind === 'unservable' ? state.reasons : [];
        log.warn({ checkpoint: name, reasons }, 'checkpoint is not servable');
        journal.tell({ type: 'unservable', checkpoint: name, reasons });
        this.#retire(change.replaced);
        break;
      }
      case 'deleted':
        log.info({ checkpoint: name }, 'deleted');
        journal.tell({ type: 'deleted', checkpoint: name });
        this.#retire(checkpoint);
        break;
      case 'patched':
        journal.tell({ type: 'patched', checkpoint: name });
        break;
      default:
        assertNever(change);
    }
    this.#publish(model);
    if (change.kind === 'registered' || change.kind === 'patched') this.#retainSoon(model);
  }

  /** Requests wait for it, or run on it, or a slot is reserved for it. */
  isInUse(adapter: AdapterId): boolean {
    const { lines, backends, reservations } = this.#parts.state;
    for (const { for: what } of reservations.values())
      if (what.kind === 'adapter' && what.target.adapter === adapter) return true;
    if ((lines.get(adapter)?.tickets.length ?? 0) > 0) return true;
    return [...backends.values()].some((backend) => (backend.held.get(adapter)?.leases ?? 0) > 0);
  }

  /** Carries out the model's `keep`, once for all that changes in this turn. What is in use stays until the next time. */
  #retainSoon(model: ModelName): void {
    const { registry, log } = this.#parts;
    if (this.#retaining.has(model) || registry.catalog.settings(model)?.keep === undefined) return;
    this.#retaining.add(model);
    setImmediate(() => {
      this.#retaining.delete(model);
      try {
        registry.retain(model, { dryRun: false, who: 'retention', leased: (adapter) => this.isInUse(adapter) });
      } catch (error) {
        log.error({ model, err: error }, 'retention could not delete; it tries again with the next registration');
      }
    });
  }

  #retire(checkpoint: Checkpoint | undefined): void {
    const adapter = checkpoint && weightsOf(checkpoint)?.id;
    if (adapter !== undefined) this.#parts.feed({ type: 'retired', adapter });
  }

  /** When an engine has come up. */
  publishAll(): void {
    for (const model of this.#parts.registry.catalog.models()) this.#publish(model);
  }

  /** Has the newest checkpoint of a model loaded before anyone asks for it, where `latest` waits for that. */
  #publish(model: ModelName): void {
    const { catalog } = this.#parts.registry;
    if ((catalog.settings(model)?.latest ?? 'ready') !== 'ready') return;
    const newest = catalog.newest(model);
    const base = newest && this.baseOf(newest);
    if (newest === undefined || base === undefined) return;
    this.#remember(newest); // where several were registered at once, its own news may not have been told yet
    const target = adapterTargetOf(newest, base.name);
    if (target === undefined) return;
    this.#parts.feed({ type: 'published', model, checkpoint: newest.id, target });
  }

  /** The base that a checkpoint is served on: its own, or the fleet's only one. Undefined: not known, or not yet. */
  baseOf(checkpoint: Pick<Checkpoint, 'base'>): BaseModel | undefined {
    const { bases } = this.#parts.registry.catalog;
    if (checkpoint.base === undefined) return onlyBase(bases);
    return bases.find((base) => base.name === checkpoint.base) ?? { name: checkpoint.base, maxModelLen: undefined };
  }

  /** @throws StepgateError that says what to do when no base can be told. */
  baseNameOf(checkpoint: Named): BaseName {
    const base = this.baseOf(checkpoint);
    if (base !== undefined) return base.name;
    const { bases } = this.#parts.registry.catalog;
    if (bases.length === 0)
      throw new StepgateError('backend_unavailable', 'no engine has come up yet; GET /ready says why');
    const known = bases.map(({ name }) => name).join(', ');
    throw new StepgateError(
      'checkpoint_not_servable',
      `no base is set for ${checkpoint.name}, and the engines serve several (${known}): set models.${checkpoint.model}.base in the config to the one that it was trained on, and "stepgate reload"`,
    );
  }
}
