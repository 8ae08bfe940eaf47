// The names of a model that move, who moved them, and retention, which spares what they name.
import type { Hono } from 'hono';
import { z } from 'zod';
import type { AdapterId } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { Gateway } from '../gateway.ts';
import { type Env, parseBody, parseQuery, wholeNumber } from '../web.ts';
import { knownModel } from './models.ts';

const WHO = 'admin';
const BY_CHARACTERS_MAX = 100;
const HISTORY_DEFAULT = 100;
const HISTORY_MAX = 10_000;

const Step = z.int().min(0);
/** `expect`: the step that it must point to now; null: none. */
const Put = z.strictObject({
  step: Step,
  expect: Step.nullable().optional(),
  by: z.string().min(1).max(BY_CHARACTERS_MAX).optional(),
});
const History = z.object({
  alias: z.string().optional(),
  limit: wholeNumber(1, HISTORY_MAX).default(HISTORY_DEFAULT),
});
const Retain = z.strictObject({ dryRun: z.boolean() });

export function addAliases(admin: Hono<Env>, gateway: Gateway): void {
  const { registry } = gateway;
  const all = '/admin/v1/models/:model/aliases';
  const one = `${all}/:alias` as const;
  const read = (model: string, alias: string) => {
    const found = registry.catalog.aliases(model).find((row) => row.alias === alias);
    if (found !== undefined) return view(found);
    throw new StepgateError('model_not_found', `${model} has no alias ${alias}; "stepgate alias ${model}" lists them`);
  };

  admin.get(all, (c) => {
    const model = knownModel(gateway, c.req.param('model'));
    return c.json({ data: registry.catalog.aliases(model).map(view), names: registry.names(model) });
  });
  admin.get(one, (c) => c.json(read(knownModel(gateway, c.req.param('model')), c.req.param('alias'))));
  admin.put(one, async (c) => {
    const { step, expect, by } = await parseBody(c, Put);
    const { model, alias } = c.req.param();
    registry.moveAlias({ model, alias, to: step, ...(expect !== undefined && { expect }), who: by ?? WHO });
    return c.json(read(model, alias));
  });
  admin.delete(one, (c) => {
    const { model, alias } = c.req.param();
    registry.moveAlias({
      model,
      alias,
      to: undefined,
      ...expected(c.req.query('expect')),
      who: c.req.query('by')?.slice(0, BY_CHARACTERS_MAX) || WHO,
    });
    return c.json({ alias, removed: true });
  });

  admin.get('/admin/v1/models/:model/history', (c) => {
    const model = knownModel(gateway, c.req.param('model'));
    const { alias, limit } = parseQuery(c, History);
    const moves =
      alias === undefined
        ? registry.history(model, limit)
        : registry
            .history(model, HISTORY_MAX)
            .filter((move) => move.alias === alias)
            .slice(0, limit);
    const data = moves.map(({ alias, from, to, atMs, by }) => ({
      alias,
      from: from ?? null,
      to: to ?? null,
      at: new Date(atMs).toISOString(),
      by,
    }));
    return c.json({ data });
  });

  admin.post('/admin/v1/models/:model/retain', async (c) => {
    const { dryRun } = await parseBody(c, Retain);
    const model = knownModel(gateway, c.req.param('model'));
    const leased = (adapter: AdapterId) => gateway.adapters.isInUse(adapter);
    const verdicts = registry.retain(model, { dryRun, who: WHO, leased });
    const data = verdicts.map(({ checkpoint: { name, step }, keep, why }) => ({ name, step: step ?? null, keep, why }));
    return c.json({ dryRun, data });
  });
}

const view = (row: { alias: string; step: number; movedAtMs: number; by: string }) => ({
  alias: row.alias,
  step: row.step,
  movedAt: new Date(row.movedAtMs).toISOString(),
  by: row.by,
});

/** `?expect=3`, `?expect=null`. */
function expected(text: string | undefined): { expect?: number | null } {
  if (text === undefined) return {};
  if (text === 'null') return { expect: null };
  if (/^[0-9]+$/.test(text)) return { expect: Number(text) };
  throw new StepgateError('invalid_request', '`expect` must be a step or null', { param: 'expect' });
}
