// What keeps an adapter off a backend: a load that failed there lately, or its quarantine. Queries only.
import type { AdapterId, BackendName } from '../domain.ts';
import { keptOff } from './quarantine.ts';
import type { RouterState } from './state.ts';

/** A load that failed, remembered so that nobody tries again at once. */
export interface Failure {
  readonly until: number;
  readonly fault: 'adapter' | 'backend';
  readonly message: string;
}

/** A load of it failed there lately, or would not be tried. */
export const hasFailed = (state: RouterState, backend: BackendName, adapter: AdapterId): boolean =>
  (state.failures.get(backend)?.has(adapter) ?? false) || keptOff(state, backend, adapter) !== undefined;

/** What keeps this adapter off this backend now. */
export function failureOf(
  state: RouterState,
  backend: BackendName,
  adapter: AdapterId,
  now: number,
): Failure | undefined {
  const failure = state.failures.get(backend)?.get(adapter);
  return failure !== undefined && failure.until > now ? failure : keptOff(state, backend, adapter);
}
