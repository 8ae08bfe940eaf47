// Reservations of slots as people ask for them: by whom, for how long, under names that move. Writes them down, tells the router which adapter or
// model is meant now, and ends them when their time is over. Which slot is kept where, and what is too much, is the router's (router/reservations.ts).
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { Adapters } from './adapters.ts';
import { as, assertNever, type Checkpoint, type ModelName, type RequestClass, type ReservationId } from './domain.ts';
import { StepgateError } from './errors.ts';
import type { Journal } from './journal.ts';
import type { Catalog } from './registry/catalog.ts';
import { parseName, printName } from './registry/name.ts';
import type { ReservationRow, ReservationRows } from './registry/store.ts';
import type { AdapterTarget, Reservation, ReservedFor, RouterEvent } from './router/events.ts';
import { backendsOf } from './router/reservation-plan.ts';
import { keptFor, refusal } from './router/reservations.ts';
import type { RouterState } from './router/state.ts';
import { adapterTargetOf } from './targets.ts';

export interface ReservationsParts {
  readonly rows: ReservationRows;
  readonly catalog: Catalog;
  readonly adapters: Pick<Adapters, 'baseOf' | 'baseNameOf'>;
  /** Read only. */
  readonly state: RouterState;
  readonly feed: (event: RouterEvent) => void;
  readonly journal: Journal;
  readonly log: Logger;
  /** Unix time, ms. */
  readonly nowMs: () => number;
}

export interface ReserveRequest {
  readonly kind: ReservationRow['kind'];
  /** As in `ReservationRow`. */
  readonly name: string;
  /** Undefined: 2 for `latest` (the newest step and the next one), else 1. */
  readonly slots: number | undefined;
  readonly owner: string;
  /** Undefined: until it is removed. */
  readonly ttlMs: number | undefined;
}

/** A reservation and what it comes to now. */
export interface Reserved extends ReservationRow {
  /** Of `slots`, those that are kept. */
  readonly kept: number;
  readonly on: readonly { readonly backend: string; readonly slots: number }[];
  /** Why fewer are kept than were asked for; undefined: all are. */
  readonly about: string | undefined;
}

const RESERVATIONS_MAX = 1000;
const ID_CHARACTERS = 8;
/** The longest that a timer can wait; then it looks again. */
const TIMER_MS_MAX = 2 ** 31 - 1;
/** The last moment that a Date can tell. */
const DATE_MS_MAX = 8.64e15;

export class Reservations {
  readonly #parts: ReservationsParts;
  readonly #rows = new Map<string, ReservationRow>();
  /** What the router was told last, by id. */
  readonly #told = new Map<string, string>();
  /** Why the router was told nothing, by id. */
  readonly #unclear = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: ReservationsParts) {
    this.#parts = parts;
    for (const row of parts.rows.reservations()) this.#rows.set(row.id, row);
    this.#expire();
    this.follow();
  }

  /**
   * Keeps slots from now on. The same owner's reservation for the same thing is replaced: it has the new number of slots and the new end.
   * Errors: conflict (too many slots, with the numbers), invalid_request, model_not_found and others of the name, storage_full.
   */
  reserve({ kind, name, slots = kind === 'latest' ? 2 : 1, owner, ttlMs }: ReserveRequest): Reserved {
    const createdAtMs = this.#parts.nowMs();
    const untilMs = ttlMs === undefined ? undefined : createdAtMs + ttlMs;
    if (untilMs !== undefined && untilMs > DATE_MS_MAX)
      throw new StepgateError('invalid_request', '`ttlMs` is too long: leave it out to keep it until it is removed.');
    this.#expire();
    const asked = { kind, name: kind === 'checkpoint' ? printName(parseName(name)) : name, owner };
    const known = [...this.#rows.values()].find((row) => isSame(row, asked));
    if (known === undefined && this.#rows.size >= RESERVATIONS_MAX)
      throw new StepgateError('conflict', `There are ${RESERVATIONS_MAX} reservations already: remove some.`);
    const id = known?.id ?? this.#freshId();
    const row: ReservationRow = { id, ...asked, slots, createdAtMs, untilMs };
    const reservation = this.#reservationOf(row);
    const refused = refusal(this.#parts.state, reservation, (other) => this.#rows.get(other)?.owner ?? '?');
    if (refused !== undefined) throw new StepgateError('conflict', refused);
    this.#parts.rows.commit([{ kind: 'reserved', reservation: row }]);
    this.#rows.set(id, row);
    this.#parts.log.info({ ...row }, 'reserved');
    this.#parts.journal.tell({ type: 'reserved', reservation: reservation.id, what: sayWhat(row), slots, owner });
    this.#tell(row);
    this.#arm();
    return this.#view(row);
  }

  /** Errors: model_not_found, storage_full. */
  release(id: string): void {
    this.#expire();
    const row = this.#rows.get(id);
    if (row !== undefined) return this.#release([row], 'removed');
    throw new StepgateError(
      'model_not_found',
      `There is no reservation "${id}" (any more): "stepgate reserve" lists them.`,
      { param: 'id' },
    );
  }

  /** The oldest first. */
  all(): readonly Reserved[] {
    this.#expire();
    return [...this.#rows.values()].map((row) => this.#view(row));
  }

  /** Names may lead elsewhere: those of one model, or all. A checkpoint that was deleted takes its reservation with it. */
  follow(model?: ModelName): void {
    const { catalog } = this.#parts;
    const mayMove = (row: ReservationRow) => modelOf(row) === model || catalog.deployment(row.name) !== undefined;
    const rows = [...this.#rows.values()].filter((row) => model === undefined || mayMove(row));
    const gone = rows.filter((row) => this.#isDeleted(row));
    this.#release(gone, 'deleted');
    for (const row of rows) if (!gone.includes(row)) this.#tell(row);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #isDeleted({ kind, name }: ReservationRow): boolean {
    return kind === 'checkpoint' && this.#parts.catalog.find(name)?.state.kind === 'deleted';
  }

  #tell(row: ReservationRow): void {
    try {
      const reservation = this.#reservationOf(row);
      const text = JSON.stringify(reservation);
      this.#unclear.delete(row.id);
      if (this.#told.get(row.id) === text) return;
      this.#told.set(row.id, text);
      this.#parts.feed({ type: 'reserved', reservation });
    } catch (error) {
      if (!(error instanceof StepgateError)) throw error;
      this.#unclear.set(row.id, error.message);
      if (this.#told.delete(row.id)) this.#parts.feed({ type: 'released', reservation: as<ReservationId>(row.id) });
    }
  }

  #expire(): void {
    const nowMs = this.#parts.nowMs();
    const over = [...this.#rows.values()].filter(({ untilMs }) => untilMs !== undefined && untilMs <= nowMs);
    this.#release(over, 'expired');
    this.#arm();
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const next = Math.min(...[...this.#rows.values()].map(({ untilMs = Number.POSITIVE_INFINITY }) => untilMs));
    if (!Number.isFinite(next)) return;
    const ms = Math.min(TIMER_MS_MAX, Math.max(1, next - this.#parts.nowMs()));
    this.#timer = setTimeout(() => this.#expire(), ms).unref();
  }

  #release(rows: readonly ReservationRow[], why: 'removed' | 'expired' | 'deleted'): void {
    if (rows.length === 0) return;
    const changes = rows.map(({ id }) => ({ kind: 'released', id }) as const);
    try {
      this.#parts.rows.commit(changes);
    } catch (error) {
      if (why === 'removed') throw error;
      this.#parts.log.error({ err: error }, 'a reservation that is over could not be deleted; at the next start it is');
    }
    for (const row of rows) {
      const id = as<ReservationId>(row.id);
      this.#rows.delete(row.id);
      this.#unclear.delete(row.id);
      if (this.#told.delete(row.id)) this.#parts.feed({ type: 'released', reservation: id });
      this.#parts.log.info({ id, what: sayWhat(row), why }, 'released');
      this.#parts.journal.tell({ type: 'released', reservation: id, what: sayWhat(row), why });
    }
  }

  /** What the router is to keep. @throws StepgateError where the name leads to nothing that an engine could hold. */
  #reservationOf(row: ReservationRow): Reservation {
    return { id: as<ReservationId>(row.id), for: this.#meant(row), slots: row.slots };
  }

  #meant({ kind, name }: ReservationRow): ReservedFor {
    const { catalog, adapters } = this.#parts;
    switch (kind) {
      case 'class':
        return { kind, class: name as RequestClass };
      case 'checkpoint': {
        const answer = catalog.resolve(name);
        if (answer.kind === 'refused') throw new StepgateError(answer.code, answer.message, { param: 'for' });
        if (answer.kind === 'checkpoint') return { kind: 'adapter', target: this.#targetOf(answer.checkpoint) };
        throw new StepgateError('invalid_request', `"${name}" is a base model: it needs no slot.`, { param: 'for' });
      }
      case 'model':
      case 'latest': {
        if (!catalog.has(name))
          throw new StepgateError('model_not_found', `There is no model "${name}": "stepgate ls" lists them.`);
        const newest = catalog.latest(name) ?? catalog.newest(name);
        const base = adapters.baseNameOf(newest ?? { name, model: name, base: catalog.settings(name)?.base });
        if (kind === 'model') return { kind, model: name, base };
        return { kind, model: name, base, newest: newest && this.#targetOf(newest) };
      }
      default:
        return assertNever(kind);
    }
  }

  #targetOf(checkpoint: Checkpoint): AdapterTarget {
    const target = adapterTargetOf(checkpoint, this.#parts.adapters.baseNameOf(checkpoint));
    if (target !== undefined) return target;
    throw new StepgateError('checkpoint_not_servable', `${checkpoint.name} has no adapter to load.`);
  }

  #view(row: ReservationRow): Reserved {
    const kept = keptFor(this.#parts.state, as<ReservationId>(row.id));
    const on = kept.map(({ backend, slots }) => ({ backend: backend.name, slots }));
    const count = on.reduce((sum, { slots }) => sum + slots, 0);
    return { ...row, kept: count, on, about: count < row.slots ? this.#whyShort(row) : undefined };
  }

  #whyShort({ id }: ReservationRow): string {
    const unclear = this.#unclear.get(id);
    if (unclear !== undefined) return unclear;
    const { state } = this.#parts;
    const what = state.reservations.get(as<ReservationId>(id))?.for;
    const down = backendsOf(state)
      .filter(({ up }) => !up)
      .map(({ name }) => `${name} is down`);
    const failed = [...state.failures.values()].flatMap((failures) =>
      what?.kind === 'adapter' ? (failures.get(what.target.adapter)?.message ?? []) : [],
    );
    return [...down, ...failed].join('; ') || 'the engines that are up have no more slots to keep';
  }

  #freshId(): string {
    for (;;) {
      const id = randomUUID().slice(0, ID_CHARACTERS);
      if (!this.#rows.has(id)) return id;
    }
  }
}

/** `my-model@5`, `model my-model`, `latest my-model`, `class eval`. */
const sayWhat = ({ kind, name }: ReservationRow): string => (kind === 'checkpoint' ? name : `${kind} ${name}`);

const modelOf = ({ kind, name }: ReservationRow): string | undefined =>
  kind === 'class' ? undefined : kind === 'checkpoint' ? parseName(name).model : name;

const isSame = (row: ReservationRow, asked: Pick<ReservationRow, 'kind' | 'name' | 'owner'>): boolean =>
  row.kind === asked.kind && row.name === asked.name && row.owner === asked.owner;
