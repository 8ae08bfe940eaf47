// Answers that engines keep, by their ids: each is asked of the engine that has it, which the id says (openai/answer-id.ts). They take no
// slot, for nothing is generated. An engine forgets its answers when it ends.
import type { ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { Context, Hono } from 'hono';
import { checkName } from './access/models.ts';
import { forward } from './backends/forward.ts';
import type { ForwardEnd } from './backends/forwarding.ts';
import { requestHeaders } from './backends/headers.ts';
import { as, type BackendName } from './domain.ts';
import { StepgateError } from './errors.ts';
import { type OutcomeCode, outcomeOf } from './exchange.ts';
import type { Gateway } from './gateway.ts';
import { placeOf } from './openai/answer-id.ts';
import { echoOf } from './openai/echo.ts';
import { sendError } from './openai/error-body.ts';
import { headerText } from './openai/header-text.ts';
import { type Env, requestIdOf, wrongMethod } from './web.ts';

const ROUTES = [
  { method: 'GET', path: '/v1/responses/:id', label: '/v1/responses/{id}' },
  { method: 'POST', path: '/v1/responses/:id/cancel', label: '/v1/responses/{id}/cancel' },
] as const;

export function addAnswerRoutes(app: Hono<Env>, gateway: Gateway): void {
  for (const { method, path, label } of ROUTES) {
    app.on(method, path, (c) => pass(c, gateway, label));
    app.all(path, (c) => wrongMethod(c, method));
  }
}

/** The engine that has the answer with this id; undefined when the id is none of ours, or the engine is in the config no more. */
export function engineOf(gateway: Gateway, id: string): BackendName | undefined {
  const place = placeOf(id);
  const name = place && as<BackendName>(place.backend);
  return name !== undefined && gateway.fleet.members.has(name) ? name : undefined;
}

function pass(c: Context<Env>, gateway: Gateway, label: string): Response {
  const { incoming, outgoing } = c.env;
  const response = outgoing as ServerResponse;
  const arrivedAt = performance.now();
  const requestId = requestIdOf(incoming);
  const id = c.req.param('id') ?? '';
  const { from, to, backend } = keptBy(gateway, id);
  checkName(c.get('caller'), gateway.registry.catalog, to);
  const { firstTokenMs, betweenChunksMs, wholeMs } = gateway.config.deadlines;
  const isStream = c.req.query('stream') === 'true';
  forward(
    {
      dispatcher: backend.pool,
      method: c.req.method,
      path: `${backend.prefix}${label.replace('{id}', id)}${new URL(c.req.url).search}`,
      headers: requestHeaders(incoming.headers, requestId),
      body: [],
      response,
      responseHeaders: {
        'x-request-id': requestId,
        'x-stepgate-model': headerText(to),
        'x-stepgate-backend': backend.name,
      },
      echo: echoOf({ from, to }),
      replayable: false,
      typedEvents: true,
      deadlines: { firstTokenMs: isStream ? firstTokenMs : wholeMs, betweenChunksMs, wholeMs },
    },
    (end) => {
      if (end.kind === 'failed' && !end.started)
        sendError(response, new StepgateError(end.code, end.message), { headers: { 'x-request-id': requestId } });
      gateway.metrics.answered(label, codeOf(end), performance.now() - arrivedAt);
    },
  );
  incoming.resume();
  return RESPONSE_ALREADY_SENT;
}

function keptBy(gateway: Gateway, id: string) {
  const place = placeOf(id);
  const member = place && gateway.fleet.members.get(as<BackendName>(place.backend));
  if (place === undefined || member === undefined) {
    throw new StepgateError('answer_not_found', `no engine has an answer "${id.slice(0, 200)}"; ask for it again`, {
      param: 'response_id',
    });
  }
  return { ...place, backend: member.backend };
}

function codeOf(end: ForwardEnd): OutcomeCode {
  if (end.kind === 'done') return outcomeOf(end.status);
  if (end.kind === 'failed') return end.code;
  return end.kind === 'left' ? 'client_closed' : 'backend_unavailable';
}
