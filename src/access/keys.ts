// The keys that there are: made, rotated, revoked, and looked up by what a caller presents. Written down before anybody hears of a change,
// and in force from the next request on. It knows no request, and no listener.
import type { RequestClass, Scope } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { AccessRows, KeyRow } from '../registry/store.ts';
import { isSame, mint, readKey } from './secret.ts';

export interface KeyRequest {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** As in `KeyRow`. */
  readonly models: readonly string[];
  readonly class?: RequestClass | undefined;
  readonly perMinute?: number | undefined;
  readonly concurrentMax?: number | undefined;
  /** Undefined: until it is revoked. */
  readonly ttlMs?: number | undefined;
}

/** `key` is told this once and kept nowhere. */
export type Told = KeyRow & { readonly key: string };

export interface KeysParts {
  readonly rows: AccessRows;
  /** Unix time, ms. */
  readonly nowMs: () => number;
  /** Called after each change. */
  readonly onChange: () => void;
}

/** Rows stay for ever, so that an id never stands for another caller. */
const KEYS_MAX = 100_000;
/** The last moment that a Date can tell. */
const DATE_MS_MAX = 8.64e15;
/** Compared with where there is no such key, so that both take as long. */
const NOBODYS = '0'.repeat(64);

export class Keys {
  readonly #parts: KeysParts;
  readonly #rows = new Map<string, KeyRow>();

  constructor(parts: KeysParts) {
    this.#parts = parts;
    for (const row of parts.rows.keys()) this.#rows.set(row.id, row);
  }

  /** The oldest first, also those that count no more. */
  all(): readonly KeyRow[] {
    return [...this.#rows.values()];
  }

  /** Whether a key was ever made, for admins or at all. */
  hasAny(scope?: Scope): boolean {
    if (scope === undefined) return this.#rows.size > 0;
    return this.all().some(({ scopes }) => scopes.includes(scope));
  }

  /** Whether somebody can be an admin now. */
  hasAdmin(): boolean {
    return this.all().some((row) => row.scopes.includes('admin') && this.#counts(row));
  }

  /** Errors: invalid_request, conflict (too many), storage_full. */
  create({ ttlMs, ...asked }: KeyRequest): Told {
    const createdAtMs = this.#parts.nowMs();
    checkScopes(asked);
    if (this.#rows.size >= KEYS_MAX) throw new StepgateError('conflict', `there are ${KEYS_MAX} keys already`);
    const { id, key, digest } = mint();
    const row: KeyRow = {
      id,
      name: asked.name,
      digest,
      previous: undefined,
      scopes: asked.scopes,
      models: asked.models,
      class: asked.class,
      perMinute: asked.perMinute,
      concurrentMax: asked.concurrentMax,
      createdAtMs,
      untilMs: ttlMs === undefined ? undefined : later(createdAtMs, ttlMs),
      revokedAtMs: undefined,
    };
    this.#write(row);
    return { ...row, key };
  }

  /** A new secret for the same id; the old one counts for `graceMs` more. Errors: key_not_found, conflict, storage_full. */
  rotate(id: string, graceMs: number): Told {
    const row = this.#live(id);
    const { key, digest } = mint(id);
    const previous = graceMs === 0 ? undefined : { digest: row.digest, untilMs: later(this.#parts.nowMs(), graceMs) };
    const rotated: KeyRow = { ...row, digest, previous };
    this.#write(rotated);
    return { ...rotated, key };
  }

  /** Counts no more, at once. Errors: key_not_found, conflict (revoked already, or the last one for admins), storage_full. */
  revoke(id: string): KeyRow {
    const row = this.#live(id);
    const isAdmin = (one: KeyRow) => one.scopes.includes('admin') && this.#counts(one);
    if (isAdmin(row) && this.all().filter(isAdmin).length === 1) {
      const message = `${id} (${row.name}) is the last admin key: nobody could make another one; make that first`;
      throw new StepgateError('conflict', message, { param: 'id' });
    }
    const revoked = { ...row, previous: undefined, revokedAtMs: this.#parts.nowMs() };
    this.#write(revoked);
    return revoked;
  }

  /**
   * Whose key was presented, and until when that holds (Unix time, ms; infinite: until a change); undefined when it counts for nothing,
   * whatever the reason.
   */
  find(presented: string): { readonly row: KeyRow; readonly untilMs: number } | undefined {
    const read = readKey(presented);
    if (read === undefined) return undefined;
    const row = this.#rows.get(read.id);
    const isNow = isSame(read.digest, row?.digest ?? NOBODYS);
    const isBefore = isSame(read.digest, row?.previous?.digest ?? NOBODYS);
    if (row === undefined || row.revokedAtMs !== undefined || !(isNow || isBefore)) return undefined;
    const { untilMs = Number.POSITIVE_INFINITY, previous } = row;
    const until = isNow ? untilMs : Math.min(untilMs, previous?.untilMs ?? 0);
    return until <= this.#parts.nowMs() ? undefined : { row, untilMs: until };
  }

  #counts({ revokedAtMs, untilMs }: KeyRow): boolean {
    return revokedAtMs === undefined && (untilMs === undefined || untilMs > this.#parts.nowMs());
  }

  #live(id: string): KeyRow {
    const row = this.#rows.get(id);
    if (row === undefined) {
      const message = `there is no key with the id "${id}"; "stepgate keys" lists them`;
      throw new StepgateError('key_not_found', message, { param: 'id' });
    }
    if (row.revokedAtMs === undefined) return row;
    throw new StepgateError('conflict', `${id} (${row.name}) was revoked already`, { param: 'id' });
  }

  #write(row: KeyRow): void {
    this.#parts.rows.commit([{ kind: 'keyed', key: row }]);
    this.#rows.set(row.id, row);
    this.#parts.onChange();
  }
}

function checkScopes({ scopes, models }: Pick<KeyRequest, 'scopes' | 'models'>): void {
  const refuse = (param: string, message: string) => {
    throw new StepgateError('invalid_request', message, { param });
  };
  if (scopes.length === 0) refuse('scopes', 'a key without a scope is good for nothing: use, publish or admin');
  const touchesModels = scopes.includes('use') || scopes.includes('publish');
  if (touchesModels && models.length === 0)
    refuse('models', 'say which models it is for, such as ["my-model"], ["team-*"] or ["*"]');
  const wrong = models.find((pattern) => pattern.slice(0, -1).includes('*') || pattern.includes('@'));
  if (wrong !== undefined)
    refuse('models', `"${wrong}" is no pattern: a model's name without its step, or the beginning of names and "*"`);
}

function later(nowMs: number, ms: number): number {
  if (nowMs + ms <= DATE_MS_MAX) return nowMs + ms;
  throw new StepgateError('invalid_request', 'the time is too long; leave it out to have no end', { param: 'ttlMs' });
}
