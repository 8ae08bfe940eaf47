// What the router is told of a request or a checkpoint: the base alone, or an adapter on that base. Pure.
import type { BaseName, Checkpoint } from './domain.ts';
import type { AdapterTarget, Target } from './router/events.ts';

/** What it needs of an engine. */
export function targetOf({ base, checkpoint }: { base: BaseName; checkpoint: Checkpoint | undefined }): Target {
  if (checkpoint === undefined) return { kind: 'base', base };
  const target = adapterTargetOf(checkpoint, base);
  // Never the base in a step's place.
  if (target === undefined) throw new Error(`${checkpoint.name} has no weights that could be asked for`);
  return target;
}

/** Undefined: it is not servable, and nothing of it was taken in. */
export function adapterTargetOf(checkpoint: Checkpoint, base: BaseName): AdapterTarget | undefined {
  const { adapter, hosted, model } = checkpoint;
  if (adapter !== undefined)
    return { kind: 'adapter', adapter: adapter.id, model, base, rank: adapter.rank, hosted: false };
  return hosted && { kind: 'adapter', adapter: hosted, model, base, rank: 0, hosted: true };
}
