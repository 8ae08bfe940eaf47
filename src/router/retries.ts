// Second attempts: which requests that an engine sent back are placed once more, and how many at once. A third there is not. Pure.
import type { BackendName } from '../domain.ts';
import type { ErrorCode } from '../errors.ts';
import type { Outcome } from './events.ts';
import { hasRoute, holdersOf, type RouterState, serves, type Ticket } from './state.ts';

/** Of the requests that wait or run (Envoy's budget), and how many always: when engines fail by the dozen, asking twice makes it worse. */
const BUDGET = { share: 0.2, min: 3 };

/** Nothing reached the caller. */
export const isSentBack = (outcome: Outcome): boolean =>
  outcome === 'missing' || outcome === 'refused' || outcome === 'busy' || outcome === 'unavailable';

const isInBudget = (state: RouterState): boolean =>
  state.retrying < Math.max(BUDGET.min, BUDGET.share * state.tickets.size);

/** An engine that answers 429 or 503 need not be believed at once: another one could take it now. */
export function mayAskAnother(state: RouterState, ticket: Ticket | undefined): boolean {
  if (ticket?.place.kind !== 'running' || ticket.attempts >= 2 || !isInBudget(state)) return false;
  const { target, place } = ticket;
  const able = target.kind === 'adapter' ? holdersOf(state, target.adapter) : state.backends.values();
  return [...able].some((backend) => backend !== place.backend && serves(backend, target) && hasRoute(backend, ticket));
}

/** What its caller is told instead of a second attempt; undefined: it has one. */
export function refusalOf(
  state: RouterState,
  { attempts }: Ticket,
  { outcome, backend }: { outcome: Outcome; backend: BackendName },
): { code: ErrorCode; message: string } | undefined {
  // An engine that has forgotten its adapters sends everybody back, has done nothing for them, and loads once for all: outside of the budget.
  if (attempts < 2 && (outcome === 'missing' || isInBudget(state))) return undefined;
  const many =
    attempts < 2 ? `; ${state.retrying} other requests are on their second attempt, so this one is not made` : '';
  switch (outcome) {
    case 'missing':
      return {
        code: 'backend_error',
        message: `engine ${backend} keeps forgetting the adapter it was given; see its log`,
      };
    case 'busy':
      return { code: 'no_capacity', message: `engine ${backend} answered 429: it takes no more now${many}` };
    case 'unavailable':
      return { code: 'backend_unavailable', message: `engine ${backend} answered 503${many}` };
    default:
      return { code: 'backend_unavailable', message: `the engines refuse connections (${backend} last)${many}` };
  }
}

/** It waits again; to be told once for each ticket. */
export function noteRetry(state: RouterState, ticket: Ticket, backend: BackendName): void {
  ticket.sentBackBy = backend;
  state.retrying++;
}
