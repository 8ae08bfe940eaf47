// POST /v1/deployments/{name}/predict: a request in the words of notebook platforms' model endpoints, turned into an ordinary request of the
// gateway. The key may be in its body ("accessKey"), so here alone a body is read before it is known who sent it: of strangers a small one.
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { Hono } from 'hono';
import type { Logger } from 'pino';
import { z } from 'zod';
import { classOf, resolve, turnAway } from './asking.ts';
import { translate } from './deployments/translation.ts';
import { WORDING } from './deployments/wording.ts';
import { StepgateError } from './errors.ts';
import type { Gateway } from './gateway.ts';
import { BodyBudget, Held } from './openai/body-budget.ts';
import { readRequest } from './openai/read-request.ts';
import { ROUTES, type Route } from './openai/routes.ts';
import { type Env, requestIdOf, wrongMethod } from './web.ts';

const PATH = '/v1/deployments/:name/predict';
/** A body whose sender is not known yet: each, and all of them together. */
const STRANGERS_BODY_BYTES_MAX = 1024 * 1024;
const STRANGERS_BYTES_MAX = 16 * 1024 * 1024;

const [COMPLETIONS, CHAT] = ['/v1/completions', '/v1/chat/completions'].map(predicting) as [Route, Route];
const Body = z.strictObject({
  /** Looked at before this. */
  accessKey: z.unknown().optional(),
  request: z.record(z.string(), z.unknown(), 'must be an object, such as {"prompt": "Hello"}'),
});

function predicting(path: string): Route {
  const route = ROUTES.find((known) => known.path === path);
  if (route === undefined) throw new Error(`no route ${path}`);
  return { ...route, label: '/v1/deployments/{name}/predict', model: 'optional', wording: WORDING };
}

export function addPredictRoutes(app: Hono<Env>, gateway: Gateway, log: Logger): void {
  const strangers = new BodyBudget(() => STRANGERS_BYTES_MAX);
  app.post(PATH, (c) => {
    const { incoming, outgoing } = c.env;
    const asked = { name: c.req.param('name'), inUrl: c.req.query('accessKey'), strangers, log };
    void predict(gateway, asked, { incoming, response: outgoing as ServerResponse });
    return RESPONSE_ALREADY_SENT;
  });
  app.all(PATH, (c) => wrongMethod(c, 'POST'));
}

interface Prediction {
  /** Of the deployment. */
  readonly name: string;
  /** The key, where the caller put it into the URL. */
  readonly inUrl: string | undefined;
  readonly strangers: BodyBudget;
  readonly log: Logger;
}

interface Wire {
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
}

async function predict(
  gateway: Gateway,
  { name, inUrl, strangers, log }: Prediction,
  { incoming, response }: Wire,
): Promise<void> {
  const arrivedAt = performance.now();
  const requestId = requestIdOf(incoming);
  const { access } = gateway;
  const shown = [incoming.headers, asHeader(inUrl)].find((headers) => access.knows(headers));
  const held = new Held(gateway.bodies);
  try {
    const bytes = await (shown === undefined
      ? readStrangers(gateway, incoming, strangers)
      : readJson(incoming, gateway.config.limits.bodyBytesMax, held));
    if (shown === undefined) held.grow(bytes.length);
    const body = JSON.parse(bytes.toString('utf8')) as { accessKey?: unknown };
    const caller = access.check(shown ?? asHeader(body.accessKey), 'use');
    access.meter(caller, response);
    caller.checkTouch(name);
    const { chat } = gateway.deployments.get(name, (one) => caller.mayTouch(one));
    const { build, ...target } = resolve(gateway, name, caller);
    if (build === undefined) throw new Error(`${name} is a deployment, and leads nowhere as one`);
    const { prompt, members } = translate(build, parse(body).request, gateway.config.limits.bodyBytesMax);
    held.grow(Math.max(0, prompt.length - bytes.length));
    response.setHeader('x-stepgate-build', build.build);
    gateway.submit({
      ...{ route: chat ? CHAT : COMPLETIONS, incoming, response, requestId, name, ...target },
      ...classOf(incoming, false, caller),
      tenant: caller.tenant,
      stream: false,
      named: (engineName) => [Buffer.from(JSON.stringify({ model: engineName, ...members }))],
      held,
      prompt: Buffer.from(prompt),
      rest: undefined,
      background: false,
      near: undefined,
      arrivedAt,
    });
  } catch (thrown) {
    held.release();
    turnAway(gateway, log, { route: COMPLETIONS, incoming, response, requestId, arrivedAt, thrown });
  }
}

const asHeader = (key: unknown): IncomingHttpHeaders => (typeof key === 'string' ? { authorization: key } : {});

async function readJson(incoming: IncomingMessage, bytesMax: number, held: Held): Promise<Buffer> {
  const { body } = await readRequest(incoming, COMPLETIONS, { bytesMax, held });
  return body;
}

/** Who has no key learns nothing but that one is needed, whatever is wrong with the body; or that it may come again. */
async function readStrangers(gateway: Gateway, incoming: IncomingMessage, strangers: BodyBudget): Promise<Buffer> {
  const held = new Held(strangers);
  try {
    const bytesMax = Math.min(STRANGERS_BODY_BYTES_MAX, gateway.config.limits.bodyBytesMax);
    return await readJson(incoming, bytesMax, held);
  } catch (error) {
    if (error instanceof StepgateError && error.code === 'client_closed') throw error;
    if (error instanceof StepgateError && error.code === 'no_capacity')
      throw new StepgateError(
        'no_capacity',
        'other bodies that hold their keys take all the room for such; send it again later, or the key in the header "Authorization: Bearer sg_..."',
      );
    throw new StepgateError(
      'invalid_api_key',
      `this needs a key that counts: "accessKey" beside "request", in JSON of at most ${STRANGERS_BODY_BYTES_MAX} bytes, or the header "Authorization: Bearer sg_..."`,
    );
  } finally {
    held.release();
  }
}

/** @throws StepgateError invalid_request */
function parse(body: unknown): z.output<typeof Body> {
  const result = Body.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const param = issue?.path.join('.') || undefined;
  const example = '{"request": {"prompt": "Hello"}}';
  const message = `${param === undefined ? 'the body' : `\`${param}\``}: ${issue?.message}; send ${example}`;
  throw new StepgateError('invalid_request', message, { ...(param && { param }) });
}
