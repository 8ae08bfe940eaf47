// The public surface: the routes of engines, the models, health and metrics. Reads a request, resolves its name, hands it to the gateway.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { type Context, Hono } from 'hono';
import type { Logger } from 'pino';
import type { Caller } from './access/caller.ts';
import { resolveFor } from './access/models.ts';
import { checkNeeds } from './access/needs.ts';
import { addAnswerRoutes, engineOf } from './answer-routes.ts';
import { CLASSES } from './domain.ts';
import { StepgateError } from './errors.ts';
import type { Asked } from './exchange.ts';
import type { Gateway } from './gateway.ts';
import { addModelRoutes } from './model-routes.ts';
import { Held } from './openai/body-budget.ts';
import { asStepgateError, sendError } from './openai/error-body.ts';
import { readRequest } from './openai/read-request.ts';
import { ROUTES, type Route } from './openai/routes.ts';
import { addTrainerRoutes } from './trainer-routes.ts';
import { addErrors, type Env, requestIdOf, wrongMethod } from './web.ts';

/** Takes a request that it knows, or says that it does not. */
export type Shortcut = (incoming: IncomingMessage, response: ServerResponse) => boolean;

/**
 * The engines' routes, straight from the table: the same as in `createApp`, without what a Request, a Response and a router cost (5 to 9 us
 * of a small answer's 70, `npm run bench:gateway`). What is not exactly a row of the table is for the app.
 */
export function engineRoutes(gateway: Gateway, log: Logger): Shortcut {
  const routes = new Map<string | undefined, Route>(ROUTES.map((route) => [route.path, route]));
  return (incoming, response) => {
    const route = incoming.method === 'POST' ? routes.get(incoming.url) : undefined;
    if (route === undefined) return false;
    void take(gateway, route, { incoming, response, log });
    return true;
  };
}

export function createApp(gateway: Gateway, log: Logger): Hono<Env> {
  const app = new Hono<Env>();
  for (const route of ROUTES) {
    app.post(route.path, ({ env: { incoming, outgoing } }) => {
      void take(gateway, route, { incoming, response: outgoing as ServerResponse, log });
      return RESPONSE_ALREADY_SENT;
    });
  }
  checkNeeds(app, gateway.access, (name) => name === 'GET /metrics' && gateway.config.access.metrics === 'open');
  for (const { path } of ROUTES) app.all(path, (c) => wrongMethod(c, 'POST'));
  addAnswerRoutes(app, gateway);
  addModelRoutes(app, gateway);
  addTrainerRoutes(app, gateway, log);
  app.get('/health', (c) => c.body(null, 200));
  app.get('/ready', (c) => ready(c, gateway));
  app.get('/metrics', async (c) =>
    c.body(await gateway.metrics.text(), 200, { 'content-type': gateway.metrics.contentType }),
  );
  addErrors(app, log);
  return app;
}

interface Call {
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  readonly log: Logger;
}

/** A request for a model, from its first byte until the gateway has it, or it is refused. */
async function take(gateway: Gateway, route: Route, { incoming, response, log }: Call): Promise<void> {
  const arrivedAt = performance.now();
  const requestId = requestIdOf(incoming);
  const held = new Held(gateway.bodies);
  try {
    const caller = gateway.access.check(incoming.headers, 'use');
    gateway.access.meter(caller, response);
    const asked = await readRequest(incoming, route, { bytesMax: gateway.config.limits.bodyBytesMax, held });
    const { name, stream, background, previous, rest } = asked;
    const said = classOf(incoming, stream, caller);
    const target = resolve(gateway, name, caller);
    gateway.submit({
      route,
      incoming,
      response,
      requestId,
      name: name ?? target.base,
      ...target,
      ...said,
      tenant: caller.tenant,
      stream,
      named: asked.named,
      held,
      prompt: asked.prompt && asked.body.subarray(asked.prompt.start, asked.prompt.end),
      rest,
      background,
      near: previous === undefined ? undefined : engineOf(gateway, previous),
      arrivedAt,
    });
  } catch (thrown) {
    held.release();
    const error = asStepgateError(thrown);
    gateway.metrics.answered(route.path, error.code, performance.now() - arrivedAt);
    if (error.code === 'internal_error') log.error({ err: thrown, requestId }, 'bug');
    else log.info({ requestId, route: route.path, code: error.code, about: error.message }, 'request refused');
    sendError(response, error, { 'x-request-id': requestId });
    // The rest of its body is read and thrown away (requestTimeout bounds it): cut off while it writes, a caller would never see the answer.
    incoming.resume();
  }
}

/**
 * A caller that says nothing of itself: whoever wants a stream is waiting for it. Only who says so is an evaluation, which may wait longest, or who is
 * part of a sweep (sweeps.ts).
 */
function classOf(
  { headers }: IncomingMessage,
  stream: boolean,
  caller: Caller,
): Pick<Asked, 'class' | 'classSaid' | 'sweep'> {
  const said = headers['x-stepgate-class'];
  const named = headers['x-stepgate-sweep'];
  const sweep = typeof named === 'string' ? named : undefined;
  if (said === undefined) {
    if (sweep !== undefined) return { class: 'eval', classSaid: true, sweep };
    const guess = stream ? 'interactive' : 'rollout';
    return { class: caller.class ?? guess, classSaid: caller.class !== undefined, sweep };
  }
  const kind = CLASSES.find((known) => known === said);
  if (kind !== undefined) {
    caller.checkClass(kind);
    return { class: kind, classSaid: true, sweep };
  }
  const message = `the header x-stepgate-class is "${said}"; it is one of ${CLASSES.join(', ')}`;
  throw new StepgateError('invalid_request', message, { param: 'x-stepgate-class' });
}

/** Resolves a name once, to the one base or checkpoint that will answer; no name means the base. */
function resolve(gateway: Gateway, name: string | undefined, caller: Caller) {
  const { catalog } = gateway.registry;
  if (name === undefined) {
    const [base] = catalog.bases;
    if (base === undefined) throw noEngineYet();
    caller.checkTouch(base.name);
    return { base: base.name, checkpoint: undefined };
  }
  const resolution = resolveFor(caller, catalog, name);
  switch (resolution.kind) {
    case 'base':
      return { base: resolution.base.name, checkpoint: undefined };
    case 'checkpoint': {
      const { checkpoint } = resolution;
      return { base: gateway.adapters.baseNameOf(checkpoint), checkpoint };
    }
    case 'refused':
      if (resolution.code === 'model_not_found' && catalog.bases.length === 0) throw noEngineYet();
      throw new StepgateError(resolution.code, resolution.message, { param: 'model' });
  }
}

/** Bases are known only from engines: until one has come up, a name may be one of theirs. */
const noEngineYet = () =>
  new StepgateError(
    'backend_unavailable',
    'no engine has come up yet, so it is not known which models there are; GET /ready says why',
  );

function ready(c: Context, gateway: Gateway): Response {
  const backends = [...gateway.fleet.members].map(([name, { state, about }]) => {
    const drain = gateway.cordons.of(name)?.state;
    return { name, state, about, ...(drain && { drain }) };
  });
  const isReady = !gateway.closing && backends.some(({ state, drain }) => state === 'up' && drain === undefined);
  const told = gateway.access.knows((c as Context<Env>).env.incoming.headers) ? { backends } : {};
  return c.json({ ready: isReady, stopping: gateway.closing, ...told }, isReady ? 200 : 503);
}
