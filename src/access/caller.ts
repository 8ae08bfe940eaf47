// Who asks, once it is known: what this caller may do, as which tenant and class, and how much of it at a time.
// Made by access.ts; it looks nothing up.
import type { RequestClass, Scope, TenantId } from '../domain.ts';
import { as, CLASSES } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { KeyRow } from '../registry/store.ts';
import type { Meter } from './meter.ts';

/** What a route asks of its caller; `any`: a key that counts, whatever its scopes. */
export type Need = Scope | 'any';

export class Caller {
  readonly tenant: TenantId;
  /** For people: the key's id and name. */
  readonly who: string;
  /** Nothing but the models of its patterns is its own; without, all are. */
  readonly isLimited: boolean;
  /** The most urgent class that it may have, which is also its default; undefined: any. */
  readonly class: RequestClass | undefined;
  /** Undefined: unmetered. */
  readonly meter: Meter | undefined;
  readonly #scopes: readonly Scope[] | undefined;
  readonly #models: readonly string[];

  private constructor(tenant: string, key: KeyRow | undefined, meter: Meter | undefined) {
    this.tenant = as<TenantId>(tenant);
    this.who = key === undefined ? 'no key' : `${key.id} (${key.name})`;
    this.#scopes = key?.scopes;
    this.#models = key?.models ?? ['*'];
    this.isLimited = !this.#models.includes('*');
    this.class = key?.class;
    this.meter = meter;
  }

  static of(key: KeyRow, meter: Meter | undefined): Caller {
    return new Caller(key.id, key, meter);
  }

  /** Somebody without a key, where none is needed: may do everything. */
  static anybody(tenant: string): Caller {
    return new Caller(tenant, undefined, undefined);
  }

  may(need: Need): boolean {
    return this.#scopes === undefined || need === 'any' || this.#scopes.includes(need);
  }

  /** `model`: the name of a lineage or a base, without a step. */
  mayTouch(model: string): boolean {
    if (!this.isLimited) return true;
    return this.#models.some((one) => (one.endsWith('*') ? model.startsWith(one.slice(0, -1)) : model === one));
  }

  /** @throws StepgateError forbidden, in the same words whether or not there is such a model */
  checkTouch(model: string): void {
    if (!this.mayTouch(model)) throw notYours(model);
  }

  /** @throws StepgateError forbidden where the class is more urgent than the key's */
  checkClass(said: RequestClass): void {
    if (this.class === undefined || CLASSES.indexOf(said) >= CLASSES.indexOf(this.class)) return;
    const message = `the key ${this.who} is for requests of class ${this.class}, and ${said} is more urgent; leave the header x-stepgate-class out`;
    throw new StepgateError('forbidden', message, { param: 'x-stepgate-class' });
  }
}

export const notYours = (model: string): StepgateError =>
  new StepgateError('forbidden', `this key is not for "${model}"; GET /v1/models lists what it may ask for`, {
    param: 'model',
  });
