// What a router's state, a backend and a ticket begin as. What the fields mean is in state.ts.
import type { BackendName } from '../domain.ts';
import { TicketTable } from '../ticket-table.ts';
import { Announced } from './announced.ts';
import { Demand } from './demand.ts';
import type { RouterEvent } from './events.ts';
import { perfectHealth } from './health.ts';
import { RunningLimit } from './running-limit.ts';
import type { BackendState, Bounds, RouterState, Ticket } from './state.ts';

export function emptyState(bounds: Bounds): RouterState {
  return {
    bounds,
    backends: new Map(),
    tickets: new TicketTable(),
    lines: new Map(),
    baseLines: new Map(),
    failures: new Map(),
    isolated: new Set(),
    busyUntil: 0,
    retrying: 0,
    quarantine: new Map(),
    proven: new Set(),
    reservations: new Map(),
    plan: new Map(),
    isPlanStale: false,
    wanted: undefined,
    retired: new Set(),
    waiting: 0,
    publications: new Map(),
    loadMs: 0,
    arrivals: 0,
    newest: new Map(),
    demand: new Demand(),
    announced: new Announced(),
    loading: new Map(),
    drains: new Map(),
    holders: new Map(),
    readied: new Set(),
    unreadied: new Set(),
    shut: new Set(),
    roomy: new Set(),
    stirred: false,
  };
}

export const emptyBackend = (name: BackendName): BackendState => ({
  name,
  up: false,
  cordoned: false,
  open: false,
  health: perfectHealth(),
  startedAt: undefined,
  suspects: [],
  bases: new Set(),
  slots: 0,
  rankMax: undefined,
  models: undefined,
  routes: undefined,
  held: new Map(),
  loadMs: 0,
  inFlight: 0,
  limit: new RunningLimit(),
  turns: new Map(),
  owesDue: false,
  vacated: [],
  changedAt: 0,
});

/** `order`: among all requests so far. */
export const newTicket = (
  { ticket: id, target, class: kind, tenant, route, affinity, near }: Extract<RouterEvent, { type: 'arrived' }>,
  order: number,
  now: number,
): Ticket => ({
  id,
  target,
  class: kind,
  tenant,
  route,
  affinity,
  near,
  order,
  arrivedAt: now,
  since: now,
  turn: undefined,
  attempts: 0,
  sentBackBy: undefined,
  place: { kind: 'waiting' },
});
