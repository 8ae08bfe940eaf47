// Who may come in: one synchronous question per request, answered from what was verified before where it can be. The only place that reads
// credentials from headers. Where no key was ever made and only this machine can connect, everybody may do everything (but see neighbours.ts).
import { hash } from 'node:crypto';
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { LRUCache } from 'lru-cache';
import { type Address, isLoopback } from '../config.ts';
import { StepgateError } from '../errors.ts';
import type { AccessRows, KeyRow } from '../registry/store.ts';
import { Caller, type Need } from './caller.ts';
import { Keys } from './keys.ts';
import { Meter } from './meter.ts';

export interface AccessParts {
  readonly rows: AccessRows;
  readonly listen: Address;
  readonly admin: Address;
  /** Unix time, ms. */
  readonly nowMs: () => number;
  /** ms, on a clock that never goes back. */
  readonly now: () => number;
}

/** In the order in which they are looked at: OpenAI's clients, Anthropic's, Azure's. */
const CARRIERS = ['authorization', 'x-api-key', 'api-key'] as const;
const IS_KEY = /^(?:bearer +)?sg_/i;
const KNOWN_MAX = 10_000;
/** What is longer is no key, and not worth remembering. */
const KNOWN_CHARACTERS_MAX = 200;

interface Known {
  readonly caller: Caller;
  /** Unix time, ms. */
  readonly untilMs: number;
  readonly hasKey: boolean;
}

export class Access {
  readonly keys: Keys;
  readonly #parts: AccessParts;
  /** By the header's text. In memory only, and for as long as no key changes. */
  readonly #known = new LRUCache<string, Known>({ max: KNOWN_MAX });
  readonly #meters = new Map<string, Meter>();
  #publicOpen = false;
  #adminOpen = false;

  constructor(parts: AccessParts) {
    this.#parts = parts;
    this.keys = new Keys({ rows: parts.rows, nowMs: parts.nowMs, onChange: () => this.#look() });
    this.#look();
  }

  /** Who sent these headers. @throws StepgateError invalid_api_key (one answer for every reason), forbidden */
  check(headers: IncomingHttpHeaders, need: Need): Caller {
    const { caller, hasKey } = this.#whose(presented(headers));
    const isOpen = need === 'admin' ? this.#adminOpen : this.#publicOpen;
    if (!hasKey && !isOpen) throw noKey();
    if (caller.may(need) || isOpen) return caller;
    const message = `the key ${caller.who} has not the scope "${need}", which this needs; "stepgate keys" makes one that has`;
    throw new StepgateError('forbidden', message);
  }

  /** There is no admin key, and only this machine can connect. */
  get isAdminOpen(): boolean {
    return this.#adminOpen;
  }

  /** As `check` with the need `any`, without a refusal. */
  knows(headers: IncomingHttpHeaders): boolean {
    return this.#publicOpen || this.#whose(presented(headers)).hasKey;
  }

  /** Counts a request for a model until its response is closed. @throws StepgateError rate_limited */
  meter({ meter, who }: Caller, response: ServerResponse): void {
    if (meter === undefined) return;
    const entered = meter.enter(this.#parts.now());
    if (entered === 'entered') return void response.once('close', () => meter.leave());
    const { concurrentMax, perMinute } = meter.limits;
    const limit = entered.over === 'perMinute' ? `${perMinute} requests a minute` : `${concurrentMax} requests at once`;
    const retryAfterS = Math.max(1, Math.ceil(entered.waitMs / 1_000));
    const message = `the key ${who} may send ${limit}; try again in ${retryAfterS} s`;
    throw new StepgateError('rate_limited', message, { retryAfterS });
  }

  #whose(token: string): Known {
    const known = this.#known.get(token);
    if (known !== undefined && (known.untilMs === Number.POSITIVE_INFINITY || known.untilMs > this.#parts.nowMs()))
      return known;
    const found = this.keys.find(token);
    const fresh: Known =
      found === undefined
        ? {
            caller: Caller.anybody(token === '' ? '' : hash('sha1', token, 'base64url')),
            untilMs: Number.POSITIVE_INFINITY,
            hasKey: false,
          }
        : { caller: Caller.of(found.row, this.#meterOf(found.row)), untilMs: found.untilMs, hasKey: true };
    // What is no key is remembered only where no keys are asked for: guesses must not push keys out.
    if (token.length <= KNOWN_CHARACTERS_MAX && (fresh.hasKey || this.#publicOpen)) this.#known.set(token, fresh);
    else this.#known.delete(token);
    return fresh;
  }

  #meterOf({ id, perMinute, concurrentMax }: KeyRow): Meter | undefined {
    if (perMinute === undefined && concurrentMax === undefined) return undefined;
    const known = this.#meters.get(id);
    if (known !== undefined) return known;
    const fresh = new Meter({ perMinute, concurrentMax });
    this.#meters.set(id, fresh);
    return fresh;
  }

  #look(): void {
    const { listen, admin } = this.#parts;
    this.#known.clear();
    this.#publicOpen = isLoopback(listen.host) && !this.keys.hasAny();
    this.#adminOpen = isLoopback(admin.host) && !this.keys.hasAny('admin');
  }
}

/** The header that holds a key of ours, else the first that holds anything. */
function presented(headers: IncomingHttpHeaders): string {
  let first = '';
  for (const name of CARRIERS) {
    const value = headers[name];
    if (typeof value !== 'string' || value === '') continue;
    if (IS_KEY.test(value)) return value;
    first ||= value;
  }
  return first;
}

const noKey = () =>
  new StepgateError(
    'invalid_api_key',
    'this needs a key that counts, as "Authorization: Bearer sg_..." (or x-api-key, api-key); "stepgate keys NAME" makes one',
  );
