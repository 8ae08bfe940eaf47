// In which order lines are served, and when each falls due. Pure functions of the state.
// By class, the most urgent first, and within a class in the order in which they formed; but whoever has waited the bound of its class comes
// before all, so that no class starves another.
import { CLASSES, type RequestClass } from '../domain.ts';
import type { Line, RouterState } from './state.ts';
import { drainsFor, waitingSince } from './state.ts';

export interface Bounds {
  /** By class, ms. */
  readonly drainAfterMs: Readonly<Record<RequestClass, number>>;
  readonly waitMsMax: number;
}

/** 0 is the most urgent. */
export const rank = (kind: RequestClass): number => CLASSES.indexOf(kind);

export function* inOrder({ lines }: RouterState, bounds: Bounds, now: number): Generator<Line> {
  const isDue = (line: Line) => now >= drainDueAt(line, 0, bounds);
  for (const line of lines.values()) if (isDue(line)) yield line;
  for (const kind of CLASSES) {
    for (const line of lines.values()) if (line.class === kind && !isDue(line)) yield line;
  }
}

/** When one more slot is to be drained for a line that has `promised` of them being emptied. */
export function drainDueAt(line: Line, promised: number, { drainAfterMs }: Bounds): number {
  return waitingSince(line) + drainAfterMs[line.class] * (promised + 1);
}

/** When something changes for a line by the passing of time alone: a drain falls due, a wait ends, a failed load may be tried again. */
export function deadlineOf(
  state: RouterState,
  line: Line,
  { bounds, now }: { bounds: Bounds; now: number },
): number | undefined {
  let next: number | undefined;
  const consider = (at: number) => {
    if (at > now) next = earlier(next, at);
  };
  consider(drainDueAt(line, drainsFor(state, line.adapter).size, bounds));
  if (line.tickets[0] !== undefined) consider(line.tickets[0].arrivedAt + bounds.waitMsMax);
  for (const failures of state.failures.values()) consider(failures.get(line.adapter)?.until ?? now);
  return next;
}

export const earlier = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b);
