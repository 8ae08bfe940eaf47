// What is looked up by adapter, kept true with each change of residency: who is ready and may be asked, what loads, what is being emptied for whom.
// No decisions.
import type { AdapterId } from '../domain.ts';
import type { BackendState, Drain, RouterState } from './state.ts';

/** Enters what is held there (1), or strikes it out (-1), as it is now. What a backend holds that takes nothing new is in no index. */
export function indexed(state: RouterState, { backend, held }: Drain, by: 1 | -1): void {
  if (!backend.open) return;
  const { adapter, residency } = held;
  if (residency.state === 'loading') tally(state.loading, adapter, by);
  if (residency.state === 'ready') holder(state, { backend, adapter }, by);
  if (residency.state !== 'draining' || residency.heir === undefined) return;
  const promised = state.drains.get(residency.heir) ?? new Set();
  if (by === 1) promised.add({ backend, held });
  else for (const drain of promised) if (drain.held === held) promised.delete(drain);
  if (promised.size > 0) state.drains.set(residency.heir, promised);
  else state.drains.delete(residency.heir);
}

/** Requests may be placed there from now on, or not: what it holds, loads or makes room for counts accordingly. */
export function openOrShut(state: RouterState, backend: BackendState, isOpen: boolean): void {
  if (backend.open === isOpen) return;
  if (!isOpen) for (const held of backend.held.values()) indexed(state, { backend, held }, -1);
  backend.open = isOpen;
  if (isOpen) for (const held of backend.held.values()) indexed(state, { backend, held }, 1);
  state.stirred = true;
  if (isOpen) state.roomy.add(backend);
  else state.shut.add(backend);
}

function tally(counts: Map<AdapterId, number>, adapter: AdapterId, by: 1 | -1): void {
  const count = (counts.get(adapter) ?? 0) + by;
  if (count > 0) counts.set(adapter, count);
  else counts.delete(adapter);
}

/** Whoever waits for it may run from now on, or needs a slot. */
function holder(
  { holders, readied, unreadied }: RouterState,
  { backend, adapter }: { readonly backend: BackendState; readonly adapter: AdapterId },
  by: 1 | -1,
): void {
  const known = holders.get(adapter) ?? new Set();
  if (by === 1) {
    holders.set(adapter, known.add(backend));
    readied.add(adapter);
    unreadied.delete(adapter);
    return;
  }
  known.delete(backend);
  // Those that are left may lack the route that somebody waits for: its line is looked at again.
  for (const { routes } of known) if (routes !== undefined) readied.add(adapter);
  if (known.size > 0) return;
  holders.delete(adapter);
  readied.delete(adapter);
  unreadied.add(adapter);
}
