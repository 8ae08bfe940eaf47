// What reservations mean for everybody: whether a load or an eviction leaves the slots that are kept, and what cannot be kept, and why.
// Pure: reads the state. Which slots are kept where is in reservation-plan.ts; keeper.ts makes it come true.
import { assertNever, type ReservationId } from '../domain.ts';
import type { Reservation, ReservedFor } from './events.ts';
import type { Claim } from './policy.ts';
import {
  adapterOf,
  backendsOf,
  type Content,
  contentsOf,
  couldKeep,
  isFor,
  type Keep,
  type Kept,
  type Plan,
  planOf,
  unfilled,
} from './reservation-plan.ts';
import { type BackendState, type Held, isInService, type Line, type RouterState } from './state.ts';

const NOTHING: Kept = { keeps: [], empty: 0 };

/** What is kept there now. */
export function keptOn(state: RouterState, backend: BackendState): Kept {
  return state.reservations.size === 0 ? NOTHING : (currentPlan(state).get(backend.name) ?? NOTHING);
}

export function currentPlan(state: RouterState): Plan {
  if (state.isPlanStale) state.plan = planOf(state, [...state.reservations.values()], state.plan);
  state.isPlanStale = false;
  return state.plan;
}

/** A free slot of `backend` may be taken, and what is kept there for others still finds room. Without a claim: for anybody who waits? */
export function mayTake(state: RouterState, backend: BackendState, claim: Claim | undefined): boolean {
  if (backend.held.size >= backend.slots) return false;
  return leavesRoom(state, backend, { victim: undefined, claim });
}

/** `held` may make room for the claim: it does not fill a reservation that the claim would leave short. */
export function mayEvict(state: RouterState, backend: BackendState, held: Held, claim: Claim | undefined): boolean {
  return leavesRoom(state, backend, { victim: held, claim });
}

interface Exchange {
  readonly victim: Held | undefined;
  readonly claim: Claim | undefined;
}

function leavesRoom(state: RouterState, backend: BackendState, { victim, claim }: Exchange): boolean {
  const { keeps, empty: now } = keptOn(state, backend);
  if (keeps.length === 0) return true;
  const fitsSome = (content: Content) => keeps.some(({ purpose }) => isFor(state, purpose, content));
  const rest = () => contentsOf(backend).filter((content) => content !== victim);
  const size = backend.held.size + (victim === undefined ? 1 : 0);
  const empty = victim !== undefined && fitsSome(victim) ? unfilled(state, keeps, rest()) : now;
  if (size + empty <= backend.slots) return true; // also for what fits nothing that is kept
  if (empty === 0 || size + empty - 1 > backend.slots) return false;
  const others = rest();
  const fills = (content: Content) => fitsSome(content) && unfilled(state, keeps, [...others, content]) < empty;
  return claim !== undefined ? fills(contentOf(claim)) : wantedOf(state, keeps).some(fills);
}

/** What waits, one of each kind. Looked up once in each step: a line that forms later in it is looked at by itself. */
function wantedOf(state: RouterState, keeps: readonly Keep[]): Content[] {
  state.wanted ??= [...new Map([...state.lines.values()].map((line) => [kindOf(line), line])).values()];
  const lines = keeps.flatMap(({ purpose }) => {
    const adapter = adapterOf(state, purpose);
    return adapter === undefined ? [] : (state.lines.get(adapter) ?? []);
  });
  return [...state.wanted, ...lines].map(({ adapter, target, class: kind }) => ({
    adapter,
    usedFor: { model: target.model, class: kind },
  }));
}

const kindOf = ({ adapter, target, class: kind, publish }: Line): string =>
  publish === undefined ? `${kind} ${target.model}` : adapter;

const contentOf = ({ target, class: kind }: Claim): Content => ({
  adapter: target.adapter,
  usedFor: { model: target.model, class: kind },
});

const keptIn = (keeps: readonly Keep[], id: ReservationId): number =>
  keeps.filter(({ reservation }) => reservation.id === id).length;

const countOf = (plan: Plan, id: ReservationId): number =>
  keptIn(
    [...plan.values()].flatMap(({ keeps }) => keeps),
    id,
  );

/** Where slots are kept for it now, and how many of each. */
export const keptFor = (state: RouterState, id: ReservationId): { backend: BackendState; slots: number }[] =>
  backendsOf(state)
    .map((backend) => ({ backend, slots: keptIn(keptOn(state, backend).keeps, id) }))
    .filter(({ slots }) => slots > 0);

/** Why these slots cannot be kept besides those that are, with the numbers and what to do; undefined: they can. */
export function refusal(
  state: RouterState,
  asked: Reservation,
  ownerOf: (id: ReservationId) => string,
): string | undefined {
  const others = [...state.reservations.values()].filter(({ id }) => id !== asked.id);
  const before = planOf(state, others);
  const canKeep = (slots: number) => {
    const after = planOf(state, [...others, { ...asked, slots }]);
    return countOf(after, asked.id) === slots && others.every(({ id }) => countOf(after, id) === countOf(before, id));
  };
  if (canKeep(asked.slots)) return undefined;
  const able = backendsOf(state).filter((backend) => couldKeep(backend, asked.for));
  const up = able.filter(isInService);
  if (up.length === 0) return `${sayFor(asked.for)}: no engine that could hold it is up; GET /ready says why`;
  let most = asked.slots - 1;
  while (most > 0 && !canKeep(most)) most--;
  const kept = others.flatMap(({ id, for: what }) => {
    const count = up.reduce((sum, { name }) => sum + keptIn(before.get(name)?.keeps ?? [], id), 0);
    return count === 0 ? [] : [`${count} for ${sayFor(what)} (${id}, ${ownerOf(id)})`];
  });
  const total = up.reduce((sum, { slots }) => sum + slots, 0);
  const down = able
    .filter((backend) => !isInService(backend))
    .map(({ name, up }) => `; ${name} is ${up ? 'drained' : 'down'}`);
  return [
    `${asked.slots} of ${total} slots for ${sayFor(asked.for)}: ${most === 0 ? 'none' : `only ${most}`} can be kept. `,
    `${up.map(({ name, slots }) => `${name} has ${slots}`).join(', ')}${down.join('')}. `,
    `Kept already: ${kept.join(', ') || 'none'}; one stays for everybody else`,
    asked.for.kind === 'adapter' ? ', and an engine holds an adapter once. ' : '. ',
    `Ask for fewer, remove a reservation ("stepgate reserve" lists them), or give the engines more slots.`,
  ].join('');
}

function sayFor(what: ReservedFor): string {
  switch (what.kind) {
    case 'adapter':
      return what.target.adapter;
    case 'model':
      return `model ${what.model}`;
    case 'latest':
      return `latest of ${what.model}`;
    case 'class':
      return `class ${what.class}`;
    default:
      return assertNever(what);
  }
}
