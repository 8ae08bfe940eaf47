// A checkpoint is registered from a directory of the gateway's machine, or from elsewhere: then the files are fetched first, and who asks for
// `text/event-stream` is told how far that is. Whoever leaves takes back what it asked for; what was fetched stays for who asks again.
import type { Context } from 'hono';
import { streamSSE } from 'hono/streaming';
import { z } from 'zod';
import type { Checkpoint } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { Gateway } from '../gateway.ts';
import { asStepgateError, errorBody } from '../openai/error-body.ts';
import { comment } from '../openai/sse.ts';
import { identify } from '../registry/arrivals.ts';
import type { Progress } from '../sources/sources.ts';
import type { Env } from '../web.ts';
import { view } from './listing.ts';

/** Between two events about progress. */
const EVENT_MS = 500;

export const from = {
  path: z.string().min(1).optional(),
  source: z.string().min(1).optional(),
  hosted: z.literal(true).optional(),
  base: z.string().min(1).optional(),
};
export interface Registering {
  readonly name: string;
  /** One of the three; `hosted`: a service has it, and no files of it are here. */
  readonly path?: string | undefined;
  readonly source?: string | undefined;
  readonly hosted?: true | undefined;
  readonly base?: string | undefined;
}

/** 201 with the checkpoint, or a stream of `progress` events that ends with `done` or `error`. */
export async function register(c: Context<Env>, gateway: Gateway, request: Registering): Promise<Response> {
  const { name, path, source, hosted, base } = request;
  const more = base === undefined ? {} : { base };
  if ([path, source, hosted].filter((one) => one !== undefined).length !== 1)
    throw new StepgateError('invalid_request', 'write one of `path`, `source` and `hosted`', { param: 'path' });
  const take = async (signal: AbortSignal, onProgress: (progress: Progress) => void): Promise<Checkpoint> => {
    if (hosted === true) return registerHosted(gateway, { name, ...more });
    if (source === undefined) return gateway.registry.register({ name, path: path ?? '', ...more });
    gateway.registry.checkName(name);
    return gateway.sources.bring(source, { signal, onProgress }, ({ dir, uri }) =>
      gateway.registry.register({ name, path: dir, source: uri, ...more }),
    );
  };
  const signal = whileThere(c);
  if (!c.req.header('accept')?.includes('text/event-stream'))
    return c.json(view(gateway, await take(signal, () => {})), 201);
  return streamSSE(c, async (stream) => {
    const send = (event: Record<string, unknown>) => stream.writeSSE({ data: JSON.stringify(event) });
    let last = { phase: '', atMs: 0 };
    const onProgress = ({ phase, bytes, bytesTotal }: Progress) => {
      const atMs = performance.now();
      if (phase === last.phase && bytes !== bytesTotal && atMs - last.atMs < EVENT_MS) return;
      last = { phase, atMs };
      void send({ type: 'progress', phase, bytes, bytesTotal: bytesTotal ?? null });
    };
    const comments = setInterval(
      () => void stream.write(comment(`${name} is on its way`)),
      gateway.config.scheduling.commentEveryMs,
    );
    try {
      const taken = await take(signal, onProgress).finally(() => clearInterval(comments));
      await send({ type: 'done', checkpoint: view(gateway, taken) });
    } catch (thrown) {
      await send({ type: 'error', ...errorBody(asStepgateError(thrown)) });
    }
  });
}

/** @throws StepgateError checkpoint_not_servable: no service has its model */
function registerHosted(gateway: Gateway, request: { name: string; base?: string }): Promise<Checkpoint> {
  const { model } = identify(request.name);
  if (gateway.config.backends.some(({ models }) => models !== undefined && Object.hasOwn(models, model)))
    return gateway.registry.registerHosted(request);
  const message = `no backend of the config has ${model} under its \`models\`, so that nobody would serve ${request.name}: docs/engines.md says how`;
  throw new StepgateError('checkpoint_not_servable', message, { param: 'name' });
}

/** Aborted when the caller leaves before it is answered. */
function whileThere(c: Context<Env>): AbortSignal {
  const { outgoing } = c.env;
  const left = new AbortController();
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) left.abort(new StepgateError('client_closed', 'the caller left'));
  });
  return left.signal;
}
