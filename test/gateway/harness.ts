// A whole gateway over real sockets: simulated engines, a real registry in a fresh directory, the OpenAI SDK pointed at it.
// Everything is closed after each test. Nothing is mocked; `until` polls for what has no event of its own.
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import pino, { type Logger } from 'pino';
import { afterEach } from 'vitest';
import { stringify } from 'yaml';
import { parseConfig } from '../../src/config.ts';
import type { ConfigChange } from '../../src/config-changes.ts';
import type { Happening } from '../../src/journal.ts';
import { type Running, start } from '../../src/serve.ts';
import { type Sim, type SimOptions, startSim } from '../../src/sim/sim.ts';
import { type CheckpointOptions, writeCheckpoint } from '../../src/sim/trainer.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

export interface SetUp {
  /** One simulated engine for each. Default: one with two slots and short times. */
  readonly engines?: readonly SimOptions[];
  /** How `latest` of my-model moves; `published` loads nothing behind a test's back. */
  readonly latest?: 'ready' | 'published' | 'error';
  /** Merged over the config's top level. */
  readonly config?: Record<string, unknown>;
  /** A directory of an earlier gateway to start on. */
  readonly home?: string;
  /** A trainer's directory that is filled already. */
  readonly runs?: string;
  /** Urls of engines that are no simulated ones. */
  readonly urls?: readonly string[];
  /** Default: says nothing. */
  readonly log?: Logger;
}

export interface House {
  readonly home: string;
  readonly runs: string;
  readonly sims: readonly Sim[];
  readonly running: Running;
  readonly openai: OpenAI;
  readonly happenings: Happening[];
  /** A trainer writes a step; resolves when the gateway has it. */
  write(step: number, more?: Partial<CheckpointOptions>): Promise<string>;
  /** A chat completion's headers and body. */
  ask(model: string, more?: Record<string, unknown>): Promise<Answer>;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  /** A command on the admin listener. */
  admin(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }>;
  /** Writes other keys into the config, and has it read anew. */
  reload(change: Record<string, unknown>): Promise<readonly ConfigChange[]>;
  restart(): Promise<House>;
}

export interface Answer {
  readonly status: number;
  readonly model: string | undefined;
  readonly text: string | undefined;
  readonly code: string | undefined;
  readonly message: string | undefined;
  readonly headers: Headers;
}

export const FAST: SimOptions = { maxLoras: 2, loadMs: 5, firstTokenMs: 1, tokenMs: 0.2, answerTokens: 6 };

export async function setUp(options: SetUp = {}): Promise<House> {
  const home = options.home ?? (await mkdtemp(join(tmpdir(), 'stepgate-test-')));
  if (options.home === undefined) cleanups.push(() => rm(home, { recursive: true, force: true }));
  await mkdir(join(home, 'runs'), { recursive: true });
  const engines = options.urls === undefined ? (options.engines ?? [{}]) : [];
  const sims = await Promise.all(engines.map((engine) => startSim({ ...FAST, ...engine })));
  cleanups.push(() => Promise.all(sims.map((sim) => sim.close())));
  return openHouse(home, sims, options);
}

async function openHouse(home: string, sims: readonly Sim[], options: SetUp): Promise<House> {
  const runs = options.runs ?? join(home, 'runs');
  const urls = options.urls ?? sims.map((sim) => sim.url);
  const written: Record<string, unknown> = {
    listen: '127.0.0.1:0',
    admin: '127.0.0.1:0',
    data: join(home, 'data'),
    backends: urls.map((url, index) => ({ name: `gpu-${index}`, url })),
    models: { 'my-model': { watch: runs, latest: options.latest ?? 'ready' } },
    discovery: { rescanMs: 200, settleMs: 50 },
    probe: { everyMs: 100 },
    ...options.config,
  };
  const reread = async () => parseConfig(stringify(written), { file: undefined });
  const log = options.log ?? pino({ level: 'silent' });
  const running = await start(await reread(), { log, reread });
  let open = true;
  const close = async () => {
    if (open) await running.close({ now: true });
    open = false;
  };
  cleanups.push(close);
  const happenings: Happening[] = [];
  running.gateway.journal.listen((happening) => happenings.push(happening));
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    fetch(`${running.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  return {
    home,
    runs,
    sims,
    running,
    happenings,
    openai: new OpenAI({ baseURL: `${running.url}/v1`, apiKey: 'none', maxRetries: 0 }),
    post,
    async write(step, more = {}) {
      const path = await writeCheckpoint({ dir: runs, step, ...more });
      await until(() => running.gateway.registry.catalog.find(`my-model@${step}`)?.source === path);
      return path;
    },
    ask: async (model, more = {}) =>
      answerOf(await post('/v1/chat/completions', { model, messages: [{ role: 'user', content: 'hi' }], ...more })),
    async admin(method, path, body) {
      const response = await fetch(`${running.adminUrl}/admin/v1${path}`, {
        method,
        headers: { 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return { status: response.status, body: await response.json() };
    },
    reload: (change) => {
      Object.assign(written, change);
      return running.reloads.reload('a test');
    },
    async restart() {
      await close();
      return openHouse(home, sims, options);
    },
  };
}
async function answerOf(response: Response): Promise<Answer> {
  const body = (await response.json()) as {
    model?: string;
    choices?: { message: { content: string } }[];
    error?: { code: string; message: string };
  };
  return {
    status: response.status,
    model: body.model,
    text: body.choices?.[0]?.message.content,
    code: body.error?.code,
    message: body.error?.message,
    headers: response.headers,
  };
}

/**
 * Begins; the answer tells how many ms have passed since, as this process lived them: while the machine runs others on its core, none do. For
 * promises about milliseconds, on machines that are busy.
 */
export function stopwatch(): () => number {
  const tickMs = 5;
  let ticks = 0;
  const timer = setInterval(() => ticks++, tickMs).unref();
  return () => {
    clearInterval(timer);
    return ticks * tickMs;
  };
}

/** Polls until it holds; fails with what was expected after `withinMs`. */
export async function until(holds: () => boolean | Promise<boolean>, withinMs = 5000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`never held: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The start of the digest that the simulated engine puts in its answers: which weights spoke. */
export async function weightsOf(directory: string): Promise<string> {
  const bytes = await readFile(join(directory, 'adapter_model.safetensors'));
  return createHash('sha256').update(bytes).digest('hex').slice(0, 8);
}
