// Tells what a request shares with others, so that those meet on an engine that has read it already. Reads headers and bytes, never whole bodies;
// which engine that is, and whether it is worth it, is the router's business (router/affinity.ts).
import type { IncomingMessage } from 'node:http';
import { hashOf } from './router/affinity.ts';

/** Of a prompt: about 250 tokens, in which system prompts and few-shot examples differ. 1 us. */
const PREFIX_BYTES = 1024;
const SESSION_CHARS = 256;

/**
 * 32 bits, unsigned: of the header `x-session-id`, else of how its prompt begins; undefined without either. A body's `user` names a person
 * and not a conversation, so it does not count. A prompt shorter than 1 KB has little to share, and is hashed whole.
 */
export function affinityOf({
  incoming,
  prompt,
}: {
  readonly incoming: Pick<IncomingMessage, 'headers'>;
  readonly prompt: Uint8Array | undefined;
}): number | undefined {
  const session = incoming.headers['x-session-id'];
  if (typeof session === 'string' && session !== '') return hashOf(session.slice(0, SESSION_CHARS));
  return prompt === undefined ? undefined : hashOf(prompt.subarray(0, PREFIX_BYTES));
}
