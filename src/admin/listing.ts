// How people see checkpoints: one row for each, sorted, filtered and in pages. Reads the catalog, the config and true residency; changes nothing.
import type { Hono } from 'hono';
import { z } from 'zod';
import type { BackendConfig } from '../config.ts';
import { type BackendName, type BaseName, type Checkpoint, type ModelName, weightsOf } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { Gateway } from '../gateway.ts';
import { metricOf } from '../openai/fine-tuning.ts';
import { servableOn } from '../registry/preflight.ts';
import { type Env, parseQuery, wholeNumber } from '../web.ts';
import { knownModel } from './models.ts';

const PAGE_DEFAULT = 1_000;
const PAGE_MAX = 100_000;

/** What `sort` and `where` may say besides a metric's name. */
const FIELDS: Readonly<Record<string, (checkpoint: Checkpoint) => number | undefined>> = {
  step: ({ step }) => step,
  created: ({ createdAtMs }) => createdAtMs,
  size: ({ adapter }) => adapter?.bytes,
  rank: ({ adapter }) => adapter?.rank,
  revision: ({ revision }) => revision,
};

const STATES = ['all', 'live', 'ready', 'servable', 'unservable', 'deleted'] as const;
type State = (typeof STATES)[number];

const Query = z.object({
  limit: wholeNumber(1, PAGE_MAX).default(PAGE_DEFAULT),
  after: z.string().optional(),
  order: z.enum(['asc', 'desc'], 'asc or desc').default('asc'),
  sort: z.string().min(1).default('step'),
  state: z.enum(STATES, `one of ${STATES.join(', ')}`).default('all'),
});

export function addListing(admin: Hono<Env>, gateway: Gateway): void {
  admin.get('/admin/v1/models/:model/checkpoints', (c) => {
    const model = knownModel(gateway, c.req.param('model'));
    const query = parseQuery(c, Query);
    const wanted = [isIn(gateway, query.state), ...(c.req.queries('where') ?? []).map(condition)];
    const found = gateway.registry.catalog
      .checkpoints(model)
      .filter((checkpoint) => wanted.every((holds) => holds(checkpoint)));
    const rows = sorted(found, readerOf(query.sort), query.order);
    const from = query.after === undefined ? 0 : after(rows, query.after);
    const page = rows.slice(from, from + query.limit);
    const names = namesOf(gateway, model);
    return c.json({
      data: page.map((checkpoint) => viewWith(gateway, checkpoint, names)),
      total: rows.length,
      hasMore: from + page.length < rows.length,
    });
  });
}

/** One checkpoint, as JSON. */
export const view = (gateway: Gateway, checkpoint: Checkpoint) =>
  viewWith(gateway, checkpoint, namesOf(gateway, checkpoint.model));

function viewWith(gateway: Gateway, checkpoint: Checkpoint, names: ReadonlyMap<number, readonly string[]>) {
  const { adapter, state, details, step } = checkpoint;
  const named = step === undefined ? [] : (names.get(step) ?? []);
  return {
    id: checkpoint.id,
    name: checkpoint.name,
    model: checkpoint.model,
    step: step ?? null,
    revision: checkpoint.revision,
    state: state.kind,
    reasons: state.kind === 'unservable' ? state.reasons : [],
    warnings: checkpoint.warnings,
    ...readiness(gateway, checkpoint),
    source: checkpoint.source,
    /** No files of it are here: services find it by its name. */
    hosted: checkpoint.hosted !== undefined,
    bytes: adapter?.bytes ?? null,
    rank: adapter?.rank ?? null,
    digest: adapter?.digest ?? null,
    base: gateway.adapters.baseOf(checkpoint)?.name ?? null,
    architecture: details.architecture ?? null,
    library: details.library ?? null,
    createdAt: new Date(checkpoint.createdAtMs).toISOString(),
    trainLoss: metricOf(details.metrics, 'train_loss') ?? null,
    evalLoss: metricOf(details.metrics, 'valid_loss') ?? null,
    metrics: details.metrics,
    resident: residents(gateway, checkpoint),
    names: named,
    latest: named.includes('latest'),
  };
}

/** Which engines would load it, as far as their limits are known; `refusing` with the rank that each allows. */
function readiness(gateway: Gateway, checkpoint: Checkpoint) {
  const { adapter, state, model } = checkpoint;
  if (state.kind !== 'servable') return { readyOn: [], refusing: [] };
  const base = gateway.adapters.baseOf(checkpoint)?.name;
  const able = backendsOf(gateway, base).filter(({ models }) =>
    models === undefined ? adapter !== undefined : Object.hasOwn(models, model),
  );
  const { ready, refusing } = servableOn(adapter?.rank ?? 0, able);
  return {
    readyOn: ready.map(({ name }) => name),
    refusing: refusing.map(({ name, rankMax }) => ({ name, rankMax })),
  };
}

/** Those that serve the base, or have not said yet what they serve. */
function backendsOf(gateway: Gateway, base: BaseName | undefined): readonly BackendConfig[] {
  return gateway.config.backends.filter(({ name }) => {
    const bases = gateway.router.state.backends.get(name)?.bases;
    return base === undefined || bases === undefined || bases.size === 0 || bases.has(base);
  });
}

function residents(gateway: Gateway, checkpoint: Checkpoint): BackendName[] {
  const weights = weightsOf(checkpoint);
  if (weights === undefined) return [];
  return [...gateway.router.state.backends.values()]
    .filter((backend) => backend.held.get(weights.id)?.residency.state === 'ready')
    .map(({ name }) => name);
}

/** The names that lead to a step now: `latest`, `best`, aliases. */
function namesOf(gateway: Gateway, model: ModelName): ReadonlyMap<number, readonly string[]> {
  const names = new Map<number, string[]>();
  for (const { alias, step } of gateway.registry.names(model)) names.set(step, [...(names.get(step) ?? []), alias]);
  return names;
}

function isIn(gateway: Gateway, state: State): (checkpoint: Checkpoint) => boolean {
  switch (state) {
    case 'all':
      return () => true;
    case 'live':
      return (checkpoint) => checkpoint.state.kind !== 'deleted';
    case 'ready':
      return (checkpoint) => readiness(gateway, checkpoint).readyOn.length > 0;
    default:
      return (checkpoint) => checkpoint.state.kind === state;
  }
}

const SIGNS = {
  '<': (value, limit) => value < limit,
  '<=': (value, limit) => value <= limit,
  '=': (value, limit) => value === limit,
  '>=': (value, limit) => value >= limit,
  '>': (value, limit) => value > limit,
} as const satisfies Record<string, (value: number, limit: number) => boolean>;

/** `eval_loss<0.5`, `step>=100`: a field or a metric against a number. What has no such value is not listed. */
function condition(text: string): (checkpoint: Checkpoint) => boolean {
  const [, field, sign, number] = /^\s*(.+?)\s*(<=|>=|<|>|=)\s*(-?[0-9.]+(?:e[-+]?[0-9]+)?)\s*$/i.exec(text) ?? [];
  const limit = Number(number);
  if (field === undefined || Number.isNaN(limit)) {
    throw new StepgateError(
      'invalid_request',
      `\`where\` is "${text}"; write a field or a metric, one of < <= = >= >, and a number, such as "eval_loss<0.5"`,
      { param: 'where' },
    );
  }
  const [read, holds] = [readerOf(field), SIGNS[sign as keyof typeof SIGNS]];
  return (checkpoint) => {
    const value = read(checkpoint);
    return value !== undefined && holds(value, limit);
  };
}

const readerOf = (field: string): ((checkpoint: Checkpoint) => number | undefined) =>
  Object.hasOwn(FIELDS, field) && FIELDS[field] !== undefined
    ? FIELDS[field]
    : ({ details }) => (Object.hasOwn(details.metrics, field) ? details.metrics[field] : undefined);

/** Without a value: last, whatever the order. Equal ones in the order of their steps. */
function sorted(
  checkpoints: readonly Checkpoint[],
  value: (checkpoint: Checkpoint) => number | undefined,
  order: 'asc' | 'desc',
): readonly Checkpoint[] {
  const sign = order === 'asc' ? 1 : -1;
  return checkpoints
    .map((checkpoint) => ({ checkpoint, value: value(checkpoint), step: checkpoint.step ?? -1 }))
    .sort((a, b) => {
      if (a.value === undefined || b.value === undefined)
        return Number(a.value === undefined) - Number(b.value === undefined) || sign * (a.step - b.step);
      return sign * (a.value - b.value || a.step - b.step);
    })
    .map(({ checkpoint }) => checkpoint);
}

/** The place behind the row of that name. */
function after(rows: readonly Checkpoint[], name: string): number {
  const at = rows.findIndex((row) => row.name === name);
  if (at >= 0) return at + 1;
  throw new StepgateError(
    'invalid_request',
    `\`after\` is "${name}", which is not in this list (any more); begin again without it`,
    { param: 'after' },
  );
}
