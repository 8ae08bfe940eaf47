// What a caller's words come to, on every route that asks a model: its class, the one base or checkpoint that its name means, and how it is
// told that it goes no further. It reads no body.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Logger } from 'pino';
import type { Caller } from './access/caller.ts';
import { resolveFor } from './access/models.ts';
import { CLASSES } from './domain.ts';
import { StepgateError } from './errors.ts';
import type { Asked } from './exchange.ts';
import type { Gateway } from './gateway.ts';
import { asStepgateError, sendError } from './openai/error-body.ts';
import type { Route } from './openai/routes.ts';

/** A request that came, and what it is known by. */
export interface Call {
  readonly route: Route;
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  /** `performance.now` */
  readonly arrivedAt: number;
}

/**
 * A caller that says nothing of itself: whoever wants a stream is waiting for it. Only who says so is an evaluation, which may wait longest, or who is
 * part of a sweep (sweeps.ts).
 */
export function classOf(
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

/** Resolves a name once, to the one base or checkpoint that will answer; no name means the base. `build`: the deployment through which it led there. */
export function resolve(gateway: Gateway, name: string | undefined, caller: Caller) {
  const { catalog } = gateway.registry;
  if (name === undefined) {
    const [base] = catalog.bases;
    if (base === undefined) throw noEngineYet();
    caller.checkTouch(base.name);
    return { base: base.name, checkpoint: undefined, build: undefined };
  }
  const resolution = resolveFor(caller, catalog, name);
  switch (resolution.kind) {
    case 'base': {
      const { base, build } = resolution;
      return { base: base.name, checkpoint: undefined, build };
    }
    case 'checkpoint': {
      const { checkpoint, build } = resolution;
      return { base: gateway.adapters.baseNameOf(checkpoint), checkpoint, build };
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

/** Answers a request that the gateway never got: its body, its key or its name was not good. */
export function turnAway(
  gateway: Gateway,
  log: Logger,
  { thrown, ...call }: Call & { readonly thrown: unknown },
): void {
  const { route, incoming, response, requestId, arrivedAt } = call;
  const error = asStepgateError(thrown);
  gateway.metrics.answered(route.label, error.code, performance.now() - arrivedAt);
  if (error.code === 'internal_error') log.error({ err: thrown, requestId }, 'bug');
  else log.info({ requestId, route: route.label, code: error.code, about: error.message }, 'request refused');
  sendError(response, error, { headers: { 'x-request-id': requestId }, wording: route.wording });
  // The rest of its body is read and thrown away (requestTimeout bounds it): cut off while it writes, a caller would never see the answer.
  incoming.resume();
}
