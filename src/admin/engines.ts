// Engines that the gateway starts itself: up, down, their state, and what they say.
import type { Context, Hono } from 'hono';
import { stream } from 'hono/streaming';
import { z } from 'zod';
import { backendName } from '../config-backends.ts';
import type { Engine, EngineState } from '../engines/engine.ts';
import type { EngineFailure, Engines } from '../engines/engines.ts';
import { textOf } from '../engines/log-file.ts';
import { StepgateError } from '../errors.ts';
import { type Env, parseBody, parseQuery, truth, wholeNumber } from '../web.ts';

const LINES_DEFAULT = 100;
const LINES_MAX = 10_000;
/** Shown of an engine that failed. */
const LAST_LINES = 20;
const FOLLOWERS_MAX = 100;
const DAY_MS = 86_400_000;

const word = z
  .string()
  .min(1)
  .max(10_000)
  .regex(/^[^\0]*$/, 'holds a NUL');
const Up = z.strictObject({
  name: backendName,
  checkpoint: word,
  command: word.optional(),
  root: word.optional(),
  port: z.int().min(1).max(65_535).optional(),
  waitMs: z.int().min(1).max(DAY_MS).default(600_000),
  own: z.boolean().default(false),
  flags: z
    .array(
      z
        .string()
        .max(10_000)
        .regex(/^[^\0]*$/, 'holds a NUL'),
    )
    .max(1_000)
    .default([]),
});
const Down = z.object({ force: truth });
const Log = z.object({ lines: wholeNumber(0, LINES_MAX).default(LINES_DEFAULT), follow: truth });

export function addEngines(admin: Hono<Env>, engines: Engines, publicUrl: () => string): void {
  const one = '/admin/v1/engines/:name';
  let followers = 0;
  admin.get('/admin/v1/engines', async (c) => c.json({ data: await Promise.all(engines.all().map(view)) }));
  admin.post('/admin/v1/engines', async (c) => {
    const request = await parseBody(c, Up);
    const up = await engines.up(request, c.get('caller').who);
    const url = publicUrl();
    if (up.kind === 'served') return c.json({ servedBy: up.backend, model: up.model, url });
    return c.json({ ...(await view(up.engine)), endpoint: url }, 202);
  });
  admin.get(one, async (c) => {
    const failure = engines.failure(c.req.param('name'));
    const engine = engines.get(c.req.param('name'));
    if (engine === undefined && failure !== undefined) return c.json(await failureView(failure));
    return c.json(await view(engines.find(c.req.param('name'))));
  });
  admin.delete(one, async (c) => {
    const name = c.req.param('name');
    await engines.down(name, { who: c.get('caller').who, ...parseQuery(c, Down) });
    return c.json({ name, ended: true });
  });
  admin.get(`${one}/log`, async (c) => {
    const name = c.req.param('name');
    const log = (await engines.logOf(name)) ?? engines.find(name).log;
    const { lines, follow } = parseQuery(c, Log);
    const engine = engines.get(name);
    if (!follow || engine === undefined) return c.text(textOf(await log.last(lines)));
    if (followers >= FOLLOWERS_MAX)
      throw new StepgateError('no_capacity', `${FOLLOWERS_MAX} follow logs already; close those that are not needed`);
    followers += 1;
    return following(c, { engine, lines, isGone: () => engines.get(name) !== engine, onEnd: () => (followers -= 1) });
  });
}

interface Following {
  readonly engine: Engine;
  readonly lines: number;
  readonly isGone: () => boolean;
  readonly onEnd: () => void;
}

const LOOK_MS = 200;

/** Ends when its engine does for good. */
function following(c: Context, { engine: { log }, lines, isGone, onEnd }: Following): Response {
  const over = new AbortController();
  const look = setInterval(() => isGone() && over.abort(), LOOK_MS).unref();
  c.header('content-type', 'text/plain; charset=UTF-8');
  return stream(c, async (out) => {
    out.onAbort(() => over.abort());
    try {
      for await (const piece of log.follow(lines, over.signal)) await out.write(piece);
    } finally {
      clearInterval(look);
      onEnd();
    }
  });
}

async function view(engine: Engine) {
  const { row, spec, state, pid, log, restarts } = engine;
  const lines = await log.last(state.kind === 'failed' ? LAST_LINES : 1);
  return {
    name: row.name,
    ...stateView(state),
    url: spec.url,
    base: spec.base,
    model: spec.model,
    pid: pid ?? null,
    restarts,
    waitMs: spec.waitMs,
    argv: spec.argv,
    log: log.path,
    lines,
    who: row.who,
    createdAt: new Date(row.createdAtMs).toISOString(),
  };
}

function stateView(state: EngineState) {
  const { kind } = state;
  const about = 'about' in state ? state.about : null;
  const since = 'sinceMs' in state ? new Date(state.sinceMs).toISOString() : null;
  const at = kind === 'restarting' ? new Date(state.atMs).toISOString() : null;
  return { state: kind, about, since, at };
}

async function failureView({ name, about, log }: EngineFailure) {
  return { name, state: 'failed', about, log: log.path, lines: await log.last(LAST_LINES) };
}
