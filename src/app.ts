// The public surface: the routes of engines, the models, health and metrics. Reads a request, resolves its name, hands it to the gateway.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { type Context, Hono } from 'hono';
import type { Logger } from 'pino';
import { checkNeeds } from './access/needs.ts';
import { addAnswerRoutes, engineOf } from './answer-routes.ts';
import { classOf, resolve, turnAway } from './asking.ts';
import { withDefaults } from './deployments/translation.ts';
import type { Asked } from './exchange.ts';
import type { Gateway } from './gateway.ts';
import { addModelRoutes } from './model-routes.ts';
import { Held } from './openai/body-budget.ts';
import { type ModelRequest, readRequest } from './openai/read-request.ts';
import { meantBy, ROUTES, type Route } from './openai/routes.ts';
import { addPredictRoutes } from './predict-routes.ts';
import type { Build } from './registry/store.ts';
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
  addPredictRoutes(app, gateway, log);
  addTrainerRoutes(app, gateway, log);
  app.get('/health', (c) => c.body(null, 200));
  app.get('/ready', (c) => ready(c, gateway));
  app.get('/metrics', async (c) =>
    c.body(await gateway.metrics.text(), 200, { 'content-type': gateway.metrics.contentType }),
  );
  addErrors(app, log, meant);
  return app;
}

function meant(path: string): string | undefined {
  if (path.startsWith('/admin/')) return 'the admin API has a listener of its own (`admin` in the config)';
  const route = meantBy(path);
  return route && `write ${route} (the base URL of OpenAI's clients ends in /v1 here)`;
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
    const { build, ...target } = resolve(gateway, name, caller);
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
      named: build === undefined ? asked.named : byDeployment(build, { route, response, asked }),
      held,
      prompt: asked.prompt && asked.body.subarray(asked.prompt.start, asked.prompt.end),
      rest,
      background,
      near: previous === undefined ? undefined : engineOf(gateway, previous),
      arrivedAt,
    });
  } catch (thrown) {
    held.release();
    turnAway(gateway, log, { route, incoming, response, requestId, arrivedAt, thrown });
  }
}

/** What only a request through a deployment gets: its defaults, where the route has such parameters, and which build answers. */
function byDeployment(
  build: Build,
  { route, response, asked }: { route: Route; response: ServerResponse; asked: ModelRequest },
): Asked['named'] {
  response.setHeader('x-stepgate-build', build.build);
  if (!route.samples) return asked.named;
  return (engineName) => withDefaults(build, asked.named(engineName), asked.body);
}

function ready(c: Context, gateway: Gateway): Response {
  const backends = [...gateway.fleet.members].map(([name, { state, about }]) => {
    const drain = gateway.cordons.of(name)?.state;
    return { name, state, about, ...(drain && { drain }) };
  });
  const isReady = !gateway.closing && backends.some(({ state, drain }) => state === 'up' && drain === undefined);
  const told = gateway.access.knows((c as Context<Env>).env.incoming.headers) ? { backends } : {};
  return c.json({ ready: isReady, stopping: gateway.closing, ...told }, isReady ? 200 : 503);
}
