// How the registry's nouns lie in the database's tables: one row each way. Pure; what a row must hold is checked here, once.
import { z } from 'zod';
import {
  type AdapterId,
  as,
  type BackendName,
  type BaseName,
  type Checkpoint,
  type CheckpointId,
  type CheckpointName,
  type Details,
  type Digest,
  type ModelName,
} from '../domain.ts';
import { hostedIdOf } from './hosted.ts';
import type { Alias, Build, CordonRow, Move, Pin, ReservationRow } from './store.ts';

export const Text = z.string();
export const Integer = z.number().int();
const Sentences = z.array(Text);
const Metrics = z.record(Text, z.number());
const Steps = z.array(Integer);

const CheckpointRow = z.object({
  id: Text,
  name: Text,
  model: Text,
  step: Integer.nullable(),
  revision: Integer,
  adapter_id: Text.nullable(),
  digest: Text.nullable(),
  bytes: Integer.nullable(),
  rank: Integer.nullable(),
  base: Text.nullable(),
  source: Text,
  created_at_ms: Integer,
  deleted_at_ms: Integer.nullable(),
  reasons: Text.nullable(),
  metrics: Text,
  architecture: Text.nullable(),
  library: Text.nullable(),
  warnings: Text.nullable(),
});
type CheckpointRow = z.infer<typeof CheckpointRow>;
/** What SQLite takes for a parameter. */
type Cells = Readonly<Record<string, string | number | null>>;

export function rowOf(checkpoint: Checkpoint): Cells {
  const { adapter, state, warnings } = checkpoint;
  return {
    id: checkpoint.id,
    name: checkpoint.name,
    model: checkpoint.model,
    step: checkpoint.step ?? null,
    revision: checkpoint.revision,
    adapter_id: adapter?.id ?? null,
    digest: adapter?.digest ?? null,
    bytes: adapter?.bytes ?? null,
    rank: adapter?.rank ?? null,
    base: checkpoint.base ?? null,
    source: checkpoint.source,
    created_at_ms: checkpoint.createdAtMs,
    deleted_at_ms: state.kind === 'deleted' ? state.atMs : null,
    reasons: state.kind === 'unservable' ? JSON.stringify(state.reasons) : null,
    warnings: warnings.length === 0 ? null : JSON.stringify(warnings),
    ...detailsRowOf(checkpoint.details),
  };
}

export const detailsRowOf = ({ metrics, architecture, library }: Details): Cells => ({
  metrics: JSON.stringify(metrics),
  architecture: architecture ?? null,
  library: library ?? null,
});

const SERVABLE: Checkpoint['state'] = { kind: 'servable' };
const NO_WARNINGS: readonly string[] = [];

/** Reads checkpoints: equal texts that many rows share (a model's name, a library) are kept once. */
export class CheckpointReader {
  readonly #texts = new Map<string, string>();
  readonly #pathOf: (digest: Digest) => string;

  constructor(pathOf: (digest: Digest) => string) {
    this.#pathOf = pathOf;
  }

  read(cells: unknown): Checkpoint {
    const row = CheckpointRow.parse(cells);
    const name = as<CheckpointName>(row.name === row.model ? this.#shared(row.name) : row.name);
    return {
      id: as<CheckpointId>(row.id),
      name,
      model: as<ModelName>(this.#shared(row.model)),
      step: row.step ?? undefined,
      revision: row.revision,
      adapter: this.#adapterOf(row, name),
      // What is servable without files is hosted.
      ...(row.digest === null && row.reasons === null && { hosted: hostedIdOf(name) }),
      base: row.base === null ? undefined : as<BaseName>(this.#shared(row.base)),
      source: row.source,
      createdAtMs: row.created_at_ms,
      state: stateOf(row),
      details: {
        metrics: Metrics.parse(JSON.parse(row.metrics)),
        architecture: row.architecture === null ? undefined : this.#shared(row.architecture),
        library: row.library === null ? undefined : this.#shared(row.library),
      },
      warnings: row.warnings === null ? NO_WARNINGS : Sentences.parse(JSON.parse(row.warnings)),
    };
  }

  #adapterOf(row: CheckpointRow, name: CheckpointName): Checkpoint['adapter'] {
    if (row.adapter_id === null || row.digest === null || row.bytes === null || row.rank === null) return undefined;
    const digest = as<Digest>(row.digest);
    const id = as<AdapterId>(row.adapter_id === name ? name : row.adapter_id);
    return { id, path: this.#pathOf(digest), digest, bytes: row.bytes, rank: row.rank };
  }

  #shared(text: string): string {
    const known = this.#texts.get(text);
    if (known === undefined) this.#texts.set(text, text);
    return known ?? text;
  }
}

function stateOf(row: CheckpointRow): Checkpoint['state'] {
  if (row.deleted_at_ms !== null) return { kind: 'deleted', atMs: row.deleted_at_ms };
  if (row.reasons !== null) return { kind: 'unservable', reasons: Sentences.parse(JSON.parse(row.reasons)) };
  return SERVABLE;
}

const AliasRow = z.object({ model: Text, alias: Text, step: Integer, moved_at_ms: Integer, by: Text }).transform(
  (row): Alias => ({
    model: as<ModelName>(row.model),
    alias: row.alias,
    step: row.step,
    movedAtMs: row.moved_at_ms,
    by: row.by,
  }),
);
export const aliasOf = (cells: unknown): Alias => AliasRow.parse(cells);
export const aliasRowOf = ({ model, alias, step, movedAtMs, by }: Alias): Cells => ({
  model,
  alias,
  step,
  moved_at_ms: movedAtMs,
  by,
});

const MoveRow = z
  .object({
    model: Text,
    alias: Text,
    from_step: Integer.nullable(),
    to_step: Integer.nullable(),
    at_ms: Integer,
    by: Text,
  })
  .transform(
    (row): Move => ({
      model: as<ModelName>(row.model),
      alias: row.alias,
      from: row.from_step ?? undefined,
      to: row.to_step ?? undefined,
      atMs: row.at_ms,
      by: row.by,
    }),
  );
export const moveOf = (cells: unknown): Move => MoveRow.parse(cells);
export const moveRowOf = ({ model, alias, from, to, atMs, by }: Move): Cells => ({
  model,
  alias,
  from_step: from ?? null,
  to_step: to ?? null,
  at_ms: atMs,
  by,
});

const PinRow = z
  .object({
    id: Text,
    model: Text,
    from_step: Integer,
    to_step: Integer,
    steps: Text.nullable(),
    owner: Text,
    created_at_ms: Integer,
    until_ms: Integer.nullable(),
  })
  .transform(
    (row): Pin => ({
      id: row.id,
      model: as<ModelName>(row.model),
      from: row.from_step,
      to: row.to_step,
      steps: row.steps === null ? undefined : Steps.parse(JSON.parse(row.steps)),
      owner: row.owner,
      createdAtMs: row.created_at_ms,
      untilMs: row.until_ms ?? undefined,
    }),
  );
export const pinOf = (cells: unknown): Pin => PinRow.parse(cells);
export const pinRowOf = (pin: Pin): Cells => ({
  id: pin.id,
  model: pin.model,
  from_step: pin.from,
  to_step: pin.to,
  steps: pin.steps === undefined ? null : JSON.stringify(pin.steps),
  owner: pin.owner,
  created_at_ms: pin.createdAtMs,
  until_ms: pin.untilMs ?? null,
});

const CordonCells = z
  .object({ backend: Text, who: Text, since_ms: Integer })
  .transform((row): CordonRow => ({ backend: as<BackendName>(row.backend), who: row.who, sinceMs: row.since_ms }));
export const cordonOf = (cells: unknown): CordonRow => CordonCells.parse(cells);
export const cordonRowOf = ({ backend, who, sinceMs }: CordonRow): Cells => ({ backend, who, since_ms: sinceMs });

const ReservationCells = z
  .object({
    id: Text,
    kind: z.enum(['checkpoint', 'model', 'latest', 'class']),
    name: Text,
    slots: Integer,
    owner: Text,
    created_at_ms: Integer,
    until_ms: Integer.nullable(),
  })
  .transform(
    (row): ReservationRow => ({
      id: row.id,
      kind: row.kind,
      name: row.name,
      slots: row.slots,
      owner: row.owner,
      createdAtMs: row.created_at_ms,
      untilMs: row.until_ms ?? undefined,
    }),
  );
export const reservationOf = (cells: unknown): ReservationRow => ReservationCells.parse(cells);
export const reservationRowOf = ({ createdAtMs, untilMs, ...row }: ReservationRow): Cells => ({
  ...row,
  created_at_ms: createdAtMs,
  until_ms: untilMs ?? null,
});

const Generation = z.record(Text, z.unknown());
const BuildCells = z
  .object({
    deployment: Text,
    build: Integer,
    target: Text,
    generation: Text,
    template: Text.nullable(),
    chat: Integer,
    created_at_ms: Integer,
    by: Text,
    copy_of: Integer.nullable(),
  })
  .transform(
    ({ generation, template, chat, created_at_ms, copy_of, ...row }): Build => ({
      ...row,
      generation: Generation.parse(JSON.parse(generation)),
      template: template ?? undefined,
      chat: chat === 1,
      createdAtMs: created_at_ms,
      copyOf: copy_of ?? undefined,
    }),
  );
export const buildOf = (cells: unknown): Build => BuildCells.parse(cells);
export const buildRowOf = ({ generation, template, chat, createdAtMs, copyOf, ...row }: Build): Cells => ({
  ...row,
  generation: JSON.stringify(generation),
  template: template ?? null,
  chat: chat ? 1 : 0,
  created_at_ms: createdAtMs,
  copy_of: copyOf ?? null,
});
