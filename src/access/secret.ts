// The text of a key, `sg_<id>.<secret>`: how one is made, read, and compared in constant time. Pure but for the random bytes.
// A secret is seen here and by whoever it is made for: what is kept is its SHA-256, enough for 256 random bits.
import { hash, randomBytes, timingSafeEqual } from 'node:crypto';

const ID_BYTES = 6;
const SECRET_BYTES = 32;
const KEY = /^sg_([0-9a-f]{12})\.([\w-]{43})$/;

export interface Minted {
  readonly id: string;
  /** The whole key, to be told once. */
  readonly key: string;
  /** SHA-256 of the secret, 64 hex digits. */
  readonly digest: string;
}

/** A new secret, for a new id or one that there is. */
export function mint(id: string = randomBytes(ID_BYTES).toString('hex')): Minted {
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  return { id, key: `sg_${id}.${secret}`, digest: digestOf(secret) };
}

/** `Bearer sg_...` or the bare key; undefined for what is no key. */
export function readKey(presented: string): { readonly id: string; readonly digest: string } | undefined {
  const [, id, secret] = KEY.exec(presented.replace(/^bearer +/i, '').trim()) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, digest: digestOf(secret) };
}

const digestOf = (secret: string): string => hash('sha256', secret, 'hex');

export const isSame = (digest: string, other: string): boolean =>
  timingSafeEqual(Buffer.from(digest, 'hex'), Buffer.from(other, 'hex'));

/** Any text, with the secrets of keys taken out of it, also of two that stand without a space between them. */
export const withoutSecrets = (text: string): string => text.replace(/(sg_[0-9a-f]{12})\.[\w.-]+/g, '$1.***');
