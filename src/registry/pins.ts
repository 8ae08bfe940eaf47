// Pins: steps that nobody deletes until a time, and for whom they are kept. (What keeps an adapter in its slot is a reservation.)
// They are few: all live ones are in memory.
import { randomUUID } from 'node:crypto';
import { StepgateError } from '../errors.ts';
import type { Catalog } from './catalog.ts';
import type { PinRequest } from './options.ts';
import type { Pin, Store } from './store.ts';
import { quote } from './words.ts';

const PINS_MAX = 10_000;
const ID_CHARACTERS = 8;
/** The last moment that a Date can tell. */
const DATE_MS_MAX = 8.64e15;

export class Pins {
  readonly #catalog: Catalog;
  readonly #rows: Store;
  readonly #nowMs: () => number;
  readonly #pins = new Map<string, Pin>();

  constructor(parts: { readonly catalog: Catalog; readonly rows: Store; readonly nowMs: () => number }) {
    this.#catalog = parts.catalog;
    this.#rows = parts.rows;
    this.#nowMs = parts.nowMs;
    for (const pin of this.#rows.pins()) this.#pins.set(pin.id, pin);
  }

  /** Errors: model_not_found, invalid_request, storage_full. */
  add({ model, steps, owner, ttlMs }: PinRequest): Pin {
    if (!this.#catalog.has(model))
      throw refused('model_not_found', 'model', `There is no model ${quote(model)}: "stepgate ls" lists them.`);
    if (owner.trim() === '')
      throw refused('invalid_request', 'owner', 'Say who the pin is for, such as "nightly-eval".');
    const createdAtMs = this.#nowMs();
    const untilMs = ttlMs === undefined ? undefined : createdAtMs + ttlMs;
    if (untilMs !== undefined && !(Number.isInteger(untilMs) && untilMs > createdAtMs && untilMs <= DATE_MS_MAX))
      throw refused('invalid_request', 'ttlMs', '`ttlMs` must be a whole number of milliseconds from now, at least 1.');
    const expired = this.#expired();
    if (this.#pins.size - expired.length >= PINS_MAX)
      throw refused(
        'invalid_request',
        'model',
        `There are ${PINS_MAX} pins already: remove some ("stepgate pin" lists them).`,
      );
    const pin: Pin = { id: this.#freshId(), model, ...rangeOf(steps), owner, createdAtMs, untilMs };
    this.#rows.commit([...expired.map(({ id }) => ({ kind: 'unpinned', id }) as const), { kind: 'pinned', pin }]);
    for (const { id } of expired) this.#pins.delete(id);
    this.#pins.set(pin.id, pin);
    return pin;
  }

  /** Errors: model_not_found, storage_full. */
  remove(id: string): void {
    if (!this.all().some((pin) => pin.id === id))
      throw refused('model_not_found', 'id', `There is no pin ${quote(id)} (any more): "stepgate pin" lists them.`);
    this.#rows.commit([{ kind: 'unpinned', id }]);
    this.#pins.delete(id);
  }

  /** Those that count now, the oldest first. */
  all(): readonly Pin[] {
    const nowMs = this.#nowMs();
    return [...this.#pins.values()].filter((pin) => !isOver(pin, nowMs));
  }

  /** The pins of one model that count now. */
  of(model: string): readonly Pin[] {
    return this.all().filter((pin) => pin.model === model);
  }

  #expired(): readonly Pin[] {
    const nowMs = this.#nowMs();
    return [...this.#pins.values()].filter((pin) => isOver(pin, nowMs));
  }

  #freshId(): string {
    for (;;) {
      const id = randomUUID().slice(0, ID_CHARACTERS);
      if (!this.#pins.has(id)) return id;
    }
  }
}

export const covers = (pin: Pin, step: number): boolean =>
  step >= pin.from && step <= pin.to && (pin.steps === undefined || pin.steps.includes(step));

/** `owner, until 2026-01-01T00:00:00.000Z`. */
export const sayPin = ({ id, owner, untilMs }: Pin): string =>
  `pin ${id} of ${owner}${untilMs === undefined ? '' : `, until ${new Date(untilMs).toISOString()}`}`;

const isOver = (pin: Pin, nowMs: number): boolean => pin.untilMs !== undefined && pin.untilMs <= nowMs;

function rangeOf(steps: PinRequest['steps']): Pick<Pin, 'from' | 'to' | 'steps'> {
  const isList = 'length' in steps;
  const list = isList ? [...new Set(steps)].sort((a, b) => a - b) : undefined;
  const [from, to] = isList ? [list?.[0], list?.at(-1)] : [steps.from, steps.to];
  const whole = [from, to, ...(list ?? [])].every((step) => Number.isSafeInteger(step) && Number(step) >= 0);
  if (from === undefined || to === undefined || !whole || from > to)
    throw refused('invalid_request', 'steps', 'Pin steps such as [5, 10], or a range such as {"from": 5, "to": 40}.');
  return { from, to, steps: list };
}

const refused = (code: 'invalid_request' | 'model_not_found', param: string, message: string): StepgateError =>
  new StepgateError(code, message, { param });
