// The simulated engine's HTTP surface: vLLM 0.32's routes, statuses and shapes. Decides nothing: the machine does.
import type { HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { Hono, type MiddlewareHandler } from 'hono';
import { detokenize, tokenize } from './answers.ts';
import { type Body, stringAt, templated, tokensOf } from './exchange.ts';
import type { Door, Fault, Faults } from './faults.ts';
import { answer, bodyOf, modelOf, type SimContext } from './inference.ts';
import type { Kept } from './kept.ts';
import type { Machine } from './machine.ts';
import { POOLING, pool } from './pooling.ts';
import {
  missingField,
  nameAndPathNeeded,
  nameNeeded,
  noSuchAnswer,
  notInBackground,
  notSupported,
  Refusal,
  scaleOutOff,
} from './refusals.ts';
import { reset } from './reset.ts';
import { transcriptions, translations } from './wire-audio.ts';
import { batch } from './wire-batch.ts';
import { chat } from './wire-chat.ts';
import { completions } from './wire-completions.ts';
import { messages, promptOf } from './wire-messages.ts';
import { known, responses } from './wire-responses.ts';

export const VERSION = '0.32.0';
/** Off unless an engine is started with --enable-scale-out. */
const SCALE_OUT = [
  '/inference/v1/generate',
  '/v1/chat/completions/render',
  '/v1/completions/render',
  '/v1/messages/render',
  '/v1/responses/render',
  '/cohere/v2/chat/render',
  '/v1/chat/completions/derender',
  '/v1/completions/derender',
];

/** A request as it came, for tests that ask what reached the engine. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** A form is latin1: a character per byte. */
  readonly body: string;
}

/** What outlives a restart: the routes are built once and find the machine of the moment here. */
export interface Site {
  machine: Machine;
  readonly faults: Faults;
  /** The last request on a route with a model. */
  seen: Seen | undefined;
}

type Env = { Bindings: HttpBindings; Variables: { fault: Fault | undefined } };

export function createApp(site: Site): Hono<Env> {
  const app = new Hono<Env>();
  app.notFound((c) => c.json({ detail: 'Not Found' }, 404));
  app.onError((error, c) => {
    if (!(error instanceof Refusal)) throw error;
    // Anthropic's route has its own shape, but not for bodies that fail validation.
    const anthropic = c.req.path.startsWith('/v1/messages') && error.type !== 'Bad Request';
    const body = anthropic ? { type: 'error', error: { type: error.type, message: error.message } } : error.body();
    return Response.json(body, { status: error.status });
  });
  addAboutRoutes(app, site);
  addLoraRoutes(app, site);
  addModelRoutes(app, site);
  addKeptRoutes(app, site);
  return app;
}

function addAboutRoutes(app: Hono<Env>, site: Site): void {
  const health = () => new Response(null, { status: site.machine.engine.dead ? 503 : 200 });
  app.get('/health', at('health', site), health);
  app.on(['GET', 'POST'], '/ping', at('health', site), health);
  app.get('/version', (c) => c.json({ version: VERSION }));
  app.get('/load', (c) => c.json({ server_load: 0 }));
  app.get('/metrics', at('metrics', site), async (c) =>
    c.body(await site.machine.metrics.text(), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
  );
  app.get('/v1/models', at('models', site), (c) => c.json({ object: 'list', data: cards(site.machine) }));
}

function addLoraRoutes(app: Hono<Env>, site: Site): void {
  app.use('/v1/load_lora_adapter', runtimeLora(site));
  app.use('/v1/unload_lora_adapter', runtimeLora(site));
  app.post('/v1/load_lora_adapter', at('load', site), async (c) => {
    const { machine } = site;
    const body = await bodyOf(c);
    const [name, path] = [needed(body, 'lora_name'), needed(body, 'lora_path')];
    machine.tally.loadCalls.set(name, (machine.tally.loadCalls.get(name) ?? 0) + 1);
    if (name === '' || path === '') throw nameAndPathNeeded();
    const fault = c.get('fault');
    await machine.engine.load(name, path, fault?.kind === 'late' ? fault.ms : 0);
    machine.tally.loads += 1;
    return plain(`Success: LoRA adapter '${name}' added successfully.`);
  });
  app.post('/v1/unload_lora_adapter', at('unload', site), async (c) => {
    const name = needed(await bodyOf(c), 'lora_name');
    if (name === '') throw nameNeeded();
    site.machine.engine.unload(name);
    site.machine.tally.unloads += 1;
    return plain(`Success: LoRA adapter '${name}' removed successfully.`);
  });
}

function addModelRoutes(app: Hono<Env>, site: Site): void {
  const count = numbered(site);
  const inference = at('inference', site);
  const wires = {
    '/v1/chat/completions': chat,
    '/v1/chat/completions/batch': batch,
    '/v1/completions': completions,
    '/v1/responses': responses,
    '/v1/messages': messages,
    '/v1/audio/transcriptions': transcriptions,
    '/v1/audio/translations': translations,
  };
  for (const [path, wire] of Object.entries(wires))
    app.post(path, count, inference, (c) => answer(c, site.machine, wire));
  app.post('/v1/messages/count_tokens', count, inference, async (c) => {
    const body = await bodyOf(c);
    modelOf(site.machine, body);
    const tokens = promptOf(body).length;
    return c.json({ input_tokens: tokens, context_management: { original_input_tokens: tokens } });
  });
  for (const [path, pooled] of Object.entries(POOLING))
    app.post(path, count, inference, async (c) => c.json(await pool(site.machine, await bodyOf(c), pooled)));
  for (const path of SCALE_OUT) {
    app.post(path, count, inference, () => {
      throw scaleOutOff();
    });
  }
  app.post('/cohere/v2/chat', count, inference, (c) => c.notFound());
  app.post('/v1/systemone', count, inference, () => {
    throw notSupported('structured decision API');
  });
  app.post('/tokenize', count, inference, async (c) => {
    const body = await bodyOf(c);
    modelOf(site.machine, body);
    const tokens = Array.isArray(body.messages) ? templated(body.messages) : tokenize(stringAt(body, 'prompt') ?? '');
    return c.json({ count: tokens.length, max_model_len: site.machine.options.maxModelLen, tokens, token_strs: null });
  });
  app.post('/detokenize', count, inference, async (c) => {
    const body = await bodyOf(c);
    modelOf(site.machine, body);
    return c.json({ prompt: detokenize(tokensOf(Array.isArray(body.tokens) ? body.tokens : [])) });
  });
}

function addKeptRoutes(app: Hono<Env>, site: Site): void {
  const find = (id: string): Kept => {
    const kept = site.machine.kept.get(id);
    if (kept === undefined) throw noSuchAnswer(id);
    return kept;
  };
  const count = numbered(site);
  const inference = at('inference', site);
  app.get('/v1/responses/:id', count, inference, (c) => {
    const { exchange, background } = find(c.req.param('id'));
    if (c.req.query('stream') !== 'true' || background === undefined) return Response.json(known(exchange));
    background.follow(c.env.outgoing.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' }));
    return RESPONSE_ALREADY_SENT;
  });
  app.post('/v1/responses/:id/cancel', count, inference, (c) => {
    const kept = find(c.req.param('id'));
    if (kept.background === undefined || kept.isOver) throw notInBackground();
    kept.cancel();
    return Response.json(known(kept.exchange));
  });
}

/** The base's names first, then adapters in order of loading. `created` is of this call, as in vLLM. */
function cards({ engine, options, base, clock, nextId }: Machine) {
  const created = Math.floor(clock.unixS());
  const card = (id: string, root: string, parent: string | null) => ({
    id,
    object: 'model',
    created,
    owned_by: 'vllm',
    root,
    parent,
    max_model_len: parent === null ? options.maxModelLen : null,
    permission: [
      { id: `modelperm-${nextId()}`, object: 'model_permission', created, organization: '*', is_blocking: false },
    ],
  });
  return [
    ...options.bases.map((name) => card(name, base, null)),
    ...Array.from(engine.adapters(), ([name, path]) => card(name, path, base)),
  ];
}

function needed(body: Body, field: string): string {
  const value = stringAt(body, field);
  if (value === undefined) throw missingField(field, Object.keys(body).length);
  return value;
}

/** vLLM sends these texts without a content type. */
function plain(text: string): Response {
  return new Response(Buffer.from(text), { headers: {} });
}

const runtimeLora =
  (site: Site): MiddlewareHandler<Env> =>
  async (c, next) => {
    if (!site.machine.options.runtimeLora) return c.json({ detail: 'Not Found' }, 404);
    if (c.req.method !== 'POST') return c.json({ detail: 'Method Not Allowed' }, 405, { allow: 'POST' });
    await next();
    return undefined;
  };

const numbered =
  (site: Site): MiddlewareHandler<Env> =>
  async (c, next) => {
    const { tally } = site.machine;
    const { outgoing } = c.env;
    tally.requests += 1;
    outgoing.once('close', () => {
      if (!outgoing.writableFinished) tally.left += 1;
    });
    const bytes = Buffer.from(await c.req.arrayBuffer());
    const isForm = c.req.header('content-type')?.startsWith('multipart/');
    const body = bytes.toString(isForm ? 'latin1' : 'utf8');
    site.seen = { method: c.req.method, path: c.req.path, headers: c.req.header(), body };
    await next();
  };

/** Carries out the faults that were hung on a door; those of streams and late loads are left to the route. */
const at =
  (door: Door, site: Site): MiddlewareHandler<Env> =>
  async (c: SimContext, next) => {
    const fault = site.faults.take(door);
    c.set('fault', fault);
    const { outgoing } = c.env;
    const gone = new Promise((resolve) => outgoing.once('close', resolve));
    switch (fault?.kind) {
      case 'status':
        return Response.json(fault.body ?? { detail: 'Made to fail' }, { status: fault.status });
      case 'hang':
        await gone;
        return RESPONSE_ALREADY_SENT;
      case 'reset':
        reset(outgoing.socket);
        return RESPONSE_ALREADY_SENT;
      case 'garbage':
        outgoing.socket?.end('this is no HTTP\r\n\r\n');
        return RESPONSE_ALREADY_SENT;
      case 'late':
        if (door !== 'load') await site.machine.clock.sleep(fault.ms);
        break;
      default:
    }
    await next();
    if (fault?.kind !== 'lost') return undefined;
    reset(outgoing.socket);
    c.res = RESPONSE_ALREADY_SENT;
    return undefined;
  };
