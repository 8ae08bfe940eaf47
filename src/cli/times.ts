// How long something is to last, as people write and read it. Pure.
import { sayAge, wrong } from './terminal.ts';

const UNITS_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const isUnit = (text: string): text is keyof typeof UNITS_MS => text in UNITS_MS;

/** `90s`, `30m`, `2h`, `7d` -> ms. @throws Failure */
export function readTime(text: string): number {
  const [, number, unit = ''] = /^([0-9]+)([smhd])$/.exec(text) ?? [];
  const ms = isUnit(unit) ? Number(number) * UNITS_MS[unit] : 0;
  if (ms > 0) return ms;
  throw wrong(`"${text}" is no time: write for example 90s, 30m, 2h or 7d`);
}

/** `until`: an ISO time, or null for ever. */
export const sayUntil = (until: string | null): string =>
  until === null ? 'until it is removed' : `${sayLeft(Date.parse(until) - Date.now())} more`;

/** A time to come matters more exactly than one that is past: `119 min`, not `1 h`. */
const sayLeft = (ms: number): string => (ms < 3 * UNITS_MS.h ? sayMinutes(ms) : sayAge(ms));
const sayMinutes = (ms: number): string => (ms < 2 * UNITS_MS.m ? sayAge(ms) : `${Math.round(ms / UNITS_MS.m)} min`);
