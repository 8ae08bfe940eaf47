// What OpenAI's SDKs read and delete: the models, and the checkpoints of a model as those of a fine-tuning job.
// Pages by the id of the last one seen. Thin over the catalog; the shapes are in openai/cards.ts and openai/fine-tuning.ts.
import type { Context, Hono } from 'hono';
import { z } from 'zod';
import type { Caller } from './access/caller.ts';
import { checkName, isFor, resolveFor } from './access/models.ts';
import type { BaseModel, Checkpoint } from './domain.ts';
import { StepgateError } from './errors.ts';
import type { Gateway } from './gateway.ts';
import { baseCard, checkpointCard, deploymentCard, type ModelCard } from './openai/cards.ts';
import { jobCheckpointId, jobCheckpoints } from './openai/fine-tuning.ts';
import type { Resolution } from './registry/resolution.ts';
import { type Env, parseQuery, wholeNumber, wrongMethod } from './web.ts';

/** What a card is made of. */
type Listed = BaseModel | Checkpoint | Deployed;

interface Deployed {
  readonly name: string;
  /** Of the build that counts. */
  readonly createdAtMs: number;
  readonly target: BaseModel | Checkpoint;
}

const JOB_PAGE_DEFAULT = 10;
const PAGE_MAX = 100_000;
const Page = z.object({ limit: wholeNumber(1, PAGE_MAX).optional(), after: z.string().optional() });

export function addModelRoutes(app: Hono<Env>, gateway: Gateway): void {
  app.get('/v1/models', (c) => list(c, gateway));
  app.all('/v1/models', (c) => wrongMethod(c, 'GET'));
  app.get('/v1/models/:id{.+}', (c) => c.json(find(gateway, c.req.param('id'), c.get('caller'))));
  app.delete('/v1/models/:id{.+}', (c) =>
    c.json({ id: remove(gateway, c.req.param('id'), c.get('caller')), object: 'model', deleted: true }),
  );
  app.all('/v1/models/:id{.+}', (c) => wrongMethod(c, 'GET, DELETE'));
  app.get('/v1/fine_tuning/jobs/:job{.+}/checkpoints', (c) => listJob(c, gateway));
}

/** All of them, as OpenAI does, unless a page is asked for. */
function list(c: Context<Env>, gateway: Gateway): Response {
  const { catalog } = gateway.registry;
  const { limit = PAGE_MAX, after } = parseQuery(c, Page);
  const caller = c.get('caller');
  const known: readonly Listed[] = [...catalog.bases, ...catalog.servable(), ...deployed(gateway)];
  const all = caller.isLimited ? known.filter((one) => isFor(caller, one)) : known;
  const from = after === undefined ? 0 : 1 + all.findIndex(({ name }) => name === after);
  if (after !== undefined && from === 0) throw unknownAfter(after);
  const data = all.slice(from, from + limit).map((model) => card(gateway, model));
  const [first, last] = [data[0]?.id ?? null, data.at(-1)?.id ?? null];
  return c.json({ object: 'list', data, first_id: first, last_id: last, has_more: from + data.length < all.length });
}

function find(gateway: Gateway, id: string, caller: Caller): ModelCard {
  const resolution = resolveFor(caller, gateway.registry.catalog, id);
  switch (resolution.kind) {
    case 'refused':
      throw new StepgateError(resolution.code, resolution.message, { param: 'model' });
    case 'base':
    case 'checkpoint':
      return card(gateway, named(resolution));
  }
}

/** What a name leads to, by that name where it is a deployment's. */
function named(answer: Exclude<Resolution, { kind: 'refused' }>): Listed {
  const target = answer.kind === 'base' ? answer.base : answer.checkpoint;
  const { build } = answer;
  return build === undefined ? target : { name: build.deployment, createdAtMs: build.createdAtMs, target };
}

/** Those that lead somewhere now. */
const deployed = ({ deployments }: Gateway): readonly Listed[] =>
  deployments.all().flatMap((build) => {
    const answer = deployments.resolve(build);
    return answer.kind === 'refused' ? [] : named(answer);
  });

function card(gateway: Gateway, model: Listed): ModelCard {
  if ('target' in model) return deploymentCard(model.name, model.createdAtMs, card(gateway, model.target));
  return 'id' in model ? checkpointCard(model, gateway.adapters.baseOf(model)) : baseCard(model, gateway.startedAtMs);
}

/** @returns the name that is deleted now */
function remove(gateway: Gateway, id: string, caller: Caller): string {
  checkName(caller, gateway.registry.catalog, id);
  if (gateway.registry.catalog.hasBase(id))
    throw new StepgateError(
      'forbidden',
      `"${id}" is a base model, which its engine serves; only checkpoints can be deleted`,
    );
  return gateway.registry.remove(id, caller.who).name;
}

/** Newest first, as OpenAI's. Steps that can be asked for only. */
function listJob(c: Context<Env>, gateway: Gateway): Response {
  const job = c.req.param('job') ?? '';
  const { catalog } = gateway.registry;
  checkName(c.get('caller'), catalog, job);
  if (!catalog.has(job)) {
    throw new StepgateError(
      'model_not_found',
      `there is no model "${job}"; the id of a job is a model's name, such as "my-model"`,
      {
        param: 'fine_tuning_job_id',
      },
    );
  }
  const { limit = JOB_PAGE_DEFAULT, after } = parseQuery(c, Page);
  const steps = catalog.checkpoints(job).filter(({ step }) => step !== undefined);
  // Where `after` was deleted meanwhile, its place is still known.
  const end =
    after === undefined ? steps.length : steps.findIndex((checkpoint) => jobCheckpointId(checkpoint) === after);
  if (end < 0) throw unknownAfter(after ?? '');
  const page: Checkpoint[] = [];
  for (let at = end - 1; at >= 0 && page.length <= limit; at--) {
    const checkpoint = steps[at];
    if (checkpoint?.state.kind === 'servable') page.push(checkpoint);
  }
  return c.json(jobCheckpoints(page.slice(0, limit), page.length > limit));
}

const unknownAfter = (after: string) =>
  new StepgateError(
    'invalid_request',
    `\`after\` is "${after}", which is not in the list (any more); begin again without it`,
    {
      param: 'after',
    },
  );
