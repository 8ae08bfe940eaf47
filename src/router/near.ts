// Among the holders of what is asked for: the engine that has the answer from which a request goes on, else the policy's choice. Pure.
import type { Policy } from './policy.ts';
import type { BackendState, Ticket } from './state.ts';

export function nearest(policy: Policy, holders: readonly BackendState[], ticket: Ticket): BackendState {
  const near = ticket.near === undefined ? undefined : holders.find(({ name }) => name === ticket.near);
  return near ?? policy.route(holders, ticket.affinity);
}
