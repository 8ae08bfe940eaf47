// Ids of answers that engines keep in memory (`/v1/responses`). The gateway chooses the id, and the id says who has the answer and under which
// names: so an answer is found again by any gateway of the same config, after a restart too, and no table of ids is kept.
import { randomBytes } from 'node:crypto';

export interface AnswerPlace {
  readonly backend: string;
  /** What the engine calls the model, and what the caller is told. */
  readonly from: string;
  readonly to: string;
}

const RANDOM_BYTES = 16;
/** The two longest names in letters of three bytes, and a backend's, are 1,800 characters of it. */
const ID = /^resp_[0-9a-f]{32}([\w-]{4,4000})$/;

/** As hard to guess as the engine's own, for whoever has an id may read the answer. */
export function answerId({ backend, from, to }: AnswerPlace): string {
  const place = JSON.stringify(from === to ? [backend, to] : [backend, to, from]);
  return `resp_${randomBytes(RANDOM_BYTES).toString('hex')}${Buffer.from(place).toString('base64url')}`;
}

/** Undefined for an id that no gateway gave. Whether there is such a backend, and such an answer, is not known from it. */
export function placeOf(id: string): AnswerPlace | undefined {
  const [, encoded = ''] = ID.exec(id) ?? [];
  try {
    const [backend, to, from = to]: unknown[] = JSON.parse(Buffer.from(encoded, 'base64url').toString('utf8'));
    if (typeof backend === 'string' && typeof to === 'string' && typeof from === 'string') return { backend, from, to };
  } catch {
    // Something else that begins like one.
  }
  return undefined;
}
