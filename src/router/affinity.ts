// Who shares an engine's prefix cache: requests of one affinity prefer one of the backends that hold what they ask for. Pure and deterministic.
// It only prefers: where one backend has become much busier than another, load decides (policy.ts).
import type { BackendName } from '../domain.ts';

/** 32 bits, unsigned (FNV-1a; no cryptography): of a text's UTF-16 units, or of bytes. */
export function hashOf(text: string | Uint8Array): number {
  let hash = 0x811c9dc5;
  const isText = typeof text === 'string';
  for (let at = 0; at < text.length; at++) {
    hash = Math.imul(hash ^ (isText ? text.charCodeAt(at) : (text[at] as number)), 0x01000193);
  }
  return hash >>> 0;
}

/**
 * Rendezvous hashing (D. Thaler and C. Ravishankar, IEEE/ACM Transactions on Networking 1998): each holder draws a number from the affinity
 * and its name, the highest wins. A backend that comes or goes moves only the affinities that it wins or won. Ties go by name.
 */
export function preferred<T extends { readonly name: BackendName }>(
  holders: readonly T[],
  affinity: number,
): T | undefined {
  let best: T | undefined;
  let highest = -1;
  for (const holder of holders) {
    const draw = mixed(affinity ^ hashOf(holder.name));
    if (draw < highest || (draw === highest && best !== undefined && holder.name > best.name)) continue;
    [best, highest] = [holder, draw];
  }
  return best;
}

/** Each bit of the result depends on each of the argument (the finaliser of MurmurHash3). */
function mixed(value: number): number {
  let bits = value;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
