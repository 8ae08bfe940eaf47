// The words in which the catalog refuses a name, and the nearest names and steps that it offers instead. Pure.
import type { Checkpoint } from '../domain.ts';
import { type Refusal, refuse } from './resolution.ts';

/** Names or steps that one refusal offers. */
export const NEAR_MAX = 5;
const QUOTED_CHARACTERS_MAX = 80;
/** Shared first characters from which a name counts as near. */
const PREFIX_MIN = 3;

/** A caller's text in a message: bounded, and on one line. */
export function quote(text: string): string {
  return JSON.stringify(text.length > QUOTED_CHARACTERS_MAX ? `${text.slice(0, QUOTED_CHARACTERS_MAX)}...` : text);
}

/** Why a checkpoint that is known is not served; undefined when it is servable. */
export function refusalOf(checkpoint: Checkpoint): Refusal | undefined {
  switch (checkpoint.state.kind) {
    case 'servable':
      return undefined;
    case 'unservable':
      return refuse(
        'checkpoint_not_servable',
        `${quote(checkpoint.name)} cannot be served: ${checkpoint.state.reasons.join(' ')}`,
      );
    case 'deleted':
      return refuse(
        'checkpoint_deleted',
        `${quote(checkpoint.name)} was deleted at ${new Date(checkpoint.state.atMs).toISOString()}. Register it again to serve it again.`,
      );
  }
}

/** Up to 5 known names, those that contain `text`, are contained in it or begin alike first; any when none does. */
export function nearNames(text: string, known: readonly string[]): readonly string[] {
  const asked = text.toLowerCase();
  const scored: { readonly name: string; readonly score: number }[] = [];
  for (const name of known) {
    const candidate = name.toLowerCase();
    const shared = sharedPrefix(asked, candidate);
    const contains =
      candidate.length >= PREFIX_MIN &&
      (asked.includes(candidate) || (asked.length >= PREFIX_MIN && candidate.includes(asked)));
    if (contains || shared >= PREFIX_MIN) scored.push({ name, score: shared + (contains ? asked.length : 0) });
  }
  if (scored.length === 0) return known.slice(0, NEAR_MAX);
  return scored
    .sort((a, b) => b.score - a.score)
    .slice(0, NEAR_MAX)
    .map((near) => near.name);
}

function sharedPrefix(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}
