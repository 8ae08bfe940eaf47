// What of the config the router goes by. Units last; the defaults are in config-schema.ts, what they were measured by in docs/scheduling.md.
import type { RequestClass } from '../domain.ts';
import type { Policy } from './policy.ts';
import type { Bounds } from './state.ts';

export interface RouterOptions {
  /** A request of this class that waited this long gets a slot drained for it; those to whom it happens soonest come first; ms. */
  readonly drainAfterMs: Readonly<Record<RequestClass, number>>;
  /** An adapter serves for so many times what its load took before it is drained for another. */
  readonly quantumLoads: number;
  /** A request for an adapter that is nowhere waits for company: `batchLoads` times what a load takes, shared by all who wait for it; at most
   *  `batchMsMax`, ms, and no less than the bound of its class. */
  readonly batchLoads: number;
  readonly batchMsMax: number;
  /** No request waits longer than this, ms. */
  readonly waitMsMax: number;
  /** Waiting requests, over all adapters and bases. */
  readonly queueMax: number;
  /** Of them, those for one adapter, or for one base alone. */
  readonly queuePerCheckpointMax: number;
  /** How long a load that an adapter spoilt is not tried again, ms; a tenth of it when the backend was at fault. */
  readonly failureMemoryMs: number;
  /** A backend that holds an adapter and runs so many requests more than another is not called busier: beyond, replicas.ts weighs a load. */
  readonly replicateAbove: number;
  /** `latest` moves at most so long after the first backend is warm with the newest checkpoint, ms. */
  readonly latestWithinMs: number;
  /** An engine whose requests fail so often in a row is ejected, at first for so long, ms. */
  readonly ejectAfter: number;
  readonly ejectedMs: number;
  /** An adapter that an engine died of is loaded nowhere, at first for so long, ms. */
  readonly quarantineMs: number;
  readonly policy?: Policy;
}

/** What of them the state's queries go by. */
export const boundsOf = ({
  drainAfterMs,
  quantumLoads,
  batchLoads,
  batchMsMax,
}: Omit<RouterOptions, 'policy'>): Bounds => ({
  ...{ dueAfterMs: drainAfterMs, quantumLoads, batchLoads, batchMsMax },
});
