// Engines that somebody drains: nothing new goes there until it is taken back, or until the engine leaves the config; a restart changes nothing
// in that. `drain` is what people do, `cordoned` what a backend then is, `draining` and `drained` how far it has come.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { BackendName } from './domain.ts';
import { StepgateError } from './errors.ts';
import type { Fleet } from './fleet.ts';
import type { Journal } from './journal.ts';
import type { CordonRow, CordonRows } from './registry/store.ts';
import type { RouterEvent } from './router/events.ts';
import { type BackendState, isOpen, isService, isUnloading, type RouterState } from './router/state.ts';

const LOOK_MS = 50;

interface CordonsParts {
  readonly rows: CordonRows;
  readonly fleet: Fleet;
  /** Read only. */
  readonly state: RouterState;
  readonly feed: (event: RouterEvent) => void;
  /** Called after the router has heard: what only that engine held may be wanted elsewhere. */
  readonly onChange: () => void;
  readonly waitMsMax: () => number;
  readonly journal: Journal;
  readonly log: Logger;
  /** Unix time, ms. */
  readonly nowMs: () => number;
}

/** `drained`: nothing of ours runs or loads there any more. */
export type Drain = CordonRow & { readonly state: 'draining' | 'drained' };

export class Cordons {
  readonly #parts: CordonsParts;
  readonly #rows = new Map<BackendName, CordonRow>();

  constructor(parts: CordonsParts) {
    this.#parts = parts;
  }

  /** To be called before anything is asked of the engines. */
  start(): void {
    for (const row of this.#parts.rows.cordons()) this.#rows.set(row.backend, row);
    this.forgetGone();
    for (const backend of this.#rows.keys()) this.#parts.feed({ type: 'cordoned', backend });
  }

  /** Undefined: it is not cordoned. */
  of(backend: BackendName): Drain | undefined {
    const row = this.#rows.get(backend);
    if (row === undefined) return undefined;
    const known = this.#parts.state.backends.get(backend);
    return { ...row, state: known === undefined || isEmpty(known) ? 'drained' : 'draining' };
  }

  /** Idempotent. @throws StepgateError backend_not_found; conflict where requests would find no engine, unless forced; storage_full */
  drain(name: string, { who, force }: { readonly who: string; readonly force: boolean }): BackendName {
    const { rows, feed, journal, log, nowMs, onChange } = this.#parts;
    const backend = this.find(name);
    if (this.#rows.has(backend)) return backend;
    if (!force) this.#checkOthers(backend);
    const cordon = { backend, who, sinceMs: nowMs() };
    rows.commit([{ kind: 'cordoned', cordon }]);
    this.#rows.set(backend, cordon);
    feed({ type: 'cordoned', backend });
    onChange();
    const running = this.#parts.state.backends.get(backend)?.inFlight ?? 0;
    log.info({ backend, who, running }, 'draining: nothing new goes there');
    journal.tell({ type: 'cordon', backend, cordoned: true, who });
    return backend;
  }

  /** Idempotent. @throws StepgateError backend_not_found, storage_full */
  undrain(name: string, who: string): BackendName {
    const { rows, feed, journal, log, onChange } = this.#parts;
    const backend = this.find(name);
    if (!this.#rows.has(backend)) return backend;
    rows.commit([{ kind: 'uncordoned', backend }]);
    this.#rows.delete(backend);
    feed({ type: 'uncordoned', backend });
    onChange();
    log.info({ backend, who }, 'drained no more: it is used again');
    journal.tell({ type: 'cordon', backend, cordoned: false, who });
    return backend;
  }

  /** Resolves when nothing of ours runs or loads there any more, or when it is used again or has left. */
  async untilDrained(backend: BackendName): Promise<void> {
    while (this.of(backend)?.state === 'draining') await sleep(LOOK_MS);
  }

  /** Engines that are in the config no more, and that may come back as others. */
  forgetGone(): void {
    const { fleet, rows, log } = this.#parts;
    const gone = [...this.#rows.keys()].filter((backend) => !fleet.members.has(backend));
    for (const backend of gone) this.#rows.delete(backend);
    try {
      rows.commit(gone.map((backend) => ({ kind: 'uncordoned', backend })));
    } catch (error) {
      log.error({ err: error, gone }, 'which engines are drained no more could not be written down');
    }
  }

  /** @throws StepgateError backend_not_found */
  find(name: string): BackendName {
    const { members } = this.#parts.fleet;
    for (const known of members.keys()) if (known === name) return known;
    const known = members.size === 0 ? 'there is none' : `there are ${[...members.keys()].join(', ')}`;
    const message = `there is no backend "${name}"; ${known}`;
    throw new StepgateError('backend_not_found', message, { param: 'name' });
  }

  #checkOthers(name: BackendName): void {
    const { state, waitMsMax } = this.#parts;
    const backend = state.backends.get(name);
    if (backend === undefined || !isOpen(backend)) return;
    const others = [...state.backends.values()].filter(
      (other) => other !== backend && isOpen(other) && isService(other) === isService(backend),
    );
    const alone = [...backend.bases].filter((base) => !others.some(({ bases }) => bases.has(base)));
    if (alone.length === 0) return;
    throw new StepgateError(
      'conflict',
      `${name} is the only engine now that serves ${alone.join(', ')}: requests would wait until it is back, ${Math.round(waitMsMax() / 1000)} s at most (limits.waitMsMax), and then be answered 429. To drain it all the same: "stepgate drain ${name} --force", or {"force":true}`,
    );
  }
}

const isEmpty = ({ inFlight, held }: BackendState): boolean =>
  inFlight === 0 && ![...held.values()].some((one) => one.residency.state === 'loading' || isUnloading(one));
