// A Store that keeps its rows in memory, for as long as its place lives: it shows that the seam asks for no database.
import { assertNever, type Checkpoint } from '../../src/domain.ts';
import type {
  Alias,
  AuditRow,
  BackendRow,
  Change,
  CordonRow,
  EngineRow,
  KeyRow,
  Move,
  Pin,
  ReservationRow,
  Store,
} from '../../src/registry/store.ts';
import type { Place } from './store-conformance.ts';

class Tables {
  readonly checkpoints = new Map<string, Checkpoint>();
  readonly promoted = new Map<Checkpoint['model'], Checkpoint['id']>();
  readonly aliases = new Map<string, Alias>();
  readonly pins = new Map<string, Pin>();
  readonly reservations = new Map<string, ReservationRow>();
  readonly cordons = new Map<string, CordonRow>();
  readonly backends = new Map<string, BackendRow>();
  readonly engines = new Map<string, EngineRow>();
  readonly keys = new Map<string, KeyRow>();
  readonly audit: AuditRow[] = [];
  readonly moves: Move[] = [];
  readonly sightings = new Map<string, string>();
}

export class MemoryPlace implements Place {
  #tables = new Tables();

  open(): Store {
    return {
      checkpoints: () => [...this.#tables.checkpoints.values()],
      promoted: () => this.#tables.promoted,
      aliases: () => {
        const rows = [...this.#tables.aliases.entries()].sort(([a], [b]) => (a < b ? -1 : 1));
        return rows.map(([, alias]) => alias);
      },
      pins: () => [...this.#tables.pins.values()],
      reservations: () =>
        [...this.#tables.reservations.values()].sort((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1)),
      cordons: () => [...this.#tables.cordons.values()].sort((a, b) => (a.backend < b.backend ? -1 : 1)),
      backends: () =>
        [...this.#tables.backends.values()].sort((a, b) => a.sinceMs - b.sinceMs || (a.name < b.name ? -1 : 1)),
      engines: () =>
        [...this.#tables.engines.values()].sort((a, b) => a.createdAtMs - b.createdAtMs || (a.name < b.name ? -1 : 1)),
      keys: () =>
        [...this.#tables.keys.values()].sort((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1)),
      audit: ({ limit, before = Number.POSITIVE_INFINITY }) =>
        this.#tables.audit
          .filter(({ id }) => id < before)
          .toReversed()
          .slice(0, limit),
      history: (model, limit) =>
        this.#tables.moves
          .filter((move) => move.model === model)
          .toReversed()
          .slice(0, limit),
      seen: (name, source) => this.#tables.sightings.get(`${name} ${source}`),
      commit: (changes) => {
        const tables = structuredClone(this.#tables) as Tables;
        for (const change of changes) write(tables, change);
        this.#tables = tables;
      },
      close: () => {},
    };
  }
}

function write(tables: Tables, change: Change): void {
  switch (change.kind) {
    case 'added': {
      const { checkpoint, sighting } = change;
      const isTaken = (one: Checkpoint) => one.name === checkpoint.name && one.revision === checkpoint.revision;
      if (tables.checkpoints.has(checkpoint.id) || [...tables.checkpoints.values()].some(isTaken))
        throw new Error(`${checkpoint.name} has revision ${checkpoint.revision} already`);
      tables.checkpoints.set(checkpoint.id, checkpoint);
      tables.sightings.set(`${sighting.name} ${sighting.source}`, sighting.signature);
      return;
    }
    case 'seen':
      tables.sightings.set(`${change.sighting.name} ${change.sighting.source}`, change.sighting.signature);
      return;
    case 'deleted':
      return alter(tables, change.id, { state: { kind: 'deleted', atMs: change.atMs } });
    case 'detailed':
      return alter(tables, change.id, { details: change.details });
    case 'promoted':
      tables.promoted.set(change.model, change.checkpoint);
      return;
    case 'aliased':
      tables.aliases.set(`${change.alias.model}@${change.alias.alias}`, change.alias);
      return;
    case 'unaliased':
      tables.aliases.delete(`${change.model}@${change.alias}`);
      return;
    case 'moved':
      tables.moves.push(change.move);
      return;
    case 'pinned':
      tables.pins.delete(change.pin.id);
      tables.pins.set(change.pin.id, change.pin);
      return;
    case 'unpinned':
      tables.pins.delete(change.id);
      return;
    case 'reserved':
      tables.reservations.set(change.reservation.id, change.reservation);
      return;
    case 'released':
      tables.reservations.delete(change.id);
      return;
    case 'cordoned':
      tables.cordons.set(change.cordon.backend, change.cordon);
      return;
    case 'uncordoned':
      tables.cordons.delete(change.backend);
      return;
    case 'backendAdded':
      tables.backends.set(change.backend.name, change.backend);
      return;
    case 'backendRemoved':
      tables.backends.delete(change.name);
      return;
    case 'engineChanged':
      tables.engines.set(change.engine.name, change.engine);
      return;
    case 'engineGone':
      tables.engines.delete(change.name);
      return;
    case 'keyed':
      tables.keys.set(change.key.id, change.key);
      return;
    case 'audited':
      tables.audit.push({ id: (tables.audit.at(-1)?.id ?? 0) + 1, ...change.entry });
      tables.audit.splice(0, tables.audit.length - change.keep);
      return;
    default:
      assertNever(change);
  }
}

function alter(tables: Tables, id: Checkpoint['id'], to: Partial<Checkpoint>): void {
  const row = tables.checkpoints.get(id);
  if (row) tables.checkpoints.set(id, { ...row, ...to });
}
