// The driver for vLLM: its routes, and what its answers mean. Remembers nothing and decides nothing; refusals are read in vllm-refusals.ts.
// Facts are of vLLM 0.32.0. Never `load_inplace`: the flag sticks, and the adapter is then re-read at every step (vllm#41482).
import { z } from 'zod';
import type { AdapterId, Weights } from '../domain.ts';
import { type Answer, ask, type Line } from './ask.ts';
import {
  type Dialect,
  type Driver,
  EngineDied,
  type LoadOutcome,
  type Probe,
  type Slots,
  type UnloadOutcome,
  WITHOUT_FILES,
} from './driver.ts';
import { askedForKey, asNoAnswer, confirm, isKeyless, parseJson, readModelList, unanswered } from './model-list.ts';
import { declares, seriesOf } from './prometheus.ts';
import {
  isAlreadyLoaded,
  isFromBetween,
  isNotLoaded,
  isWithoutRoutes,
  messageOf,
  readRefusal,
  WITHOUT_LORA,
  WITHOUT_ROUTES,
} from './vllm-refusals.ts';

/** Its label `max_lora` is the only way to learn --max-loras from outside. It has series only once the engine has run a step. */
const LORA_INFO = 'vllm:lora_requests_info';
/** vLLM's own default for --max-loras. */
const SLOTS_BY_DEFAULT = 1;

const DIALECT: Dialect = {
  modelOf: ({ base, checkpoint }) => (checkpoint === undefined ? base : (checkpoint.adapter?.id ?? checkpoint.name)),
  echoes: true,
  routes: undefined,
  unknownModel: {
    statuses: [404],
    // Newer versions have a list of aliases after it.
    says: ({ message }) => /^The model .* does not exist/s.test(message),
    isForgotten: true,
  },
};

/** `slots`: what the config says; it wins over the engine's word. */
export function createVllmDriver({ slots, ...line }: Line & { readonly slots?: number | undefined }): Driver {
  return {
    ...DIALECT,
    probe: (signal) => probe(line, slots, signal),
    learnSlots: (seen, signal) => learnSlots(line, seen, signal),
    load: (adapter, signal) => load(line, adapter, signal),
    unload: (adapter, signal) => unload(line, adapter, signal),
  };
}

async function probe(line: Line, slots: number | undefined, signal: AbortSignal): Promise<Probe> {
  const get = (path: string) => ask(line, { path }, signal);
  const [health, models, metrics, version] = await Promise.all([
    get('/health'),
    get('/v1/models'),
    get('/metrics'),
    get('/version'),
  ]);
  if (health.status === 503)
    throw new EngineDied(`${line.url} answers, but its engine has died (GET /health gave 503): restart it`);
  if (isKeyless(models)) throw askedForKey(line, '/v1/models', models);
  const listed = readModelList(models);
  if (listed === undefined) throw notVllm(line, '/v1/models', models);
  if (health.status !== 200) throw notVllm(line, '/health', health);
  return {
    ...listed,
    version: readVersion(version),
    ...readMetrics(metrics, slots),
  };
}

function notVllm({ url }: Line, path: string, { status, type }: Answer): Error {
  const gave = status === 200 ? `${type || 'a body'} of another shape` : status;
  return new Error(`${url} answers, but not as vLLM does (GET ${path} gave ${gave}): is the url right?`);
}

function readMetrics({ status, text }: Answer, slots: number | undefined) {
  // An engine may serve without statistics (--disable-log-stats): it is up all the same.
  const metrics = status === 200 ? text : '';
  // One series per engine process behind this server.
  const sum = (family: string) => seriesOf(metrics, family).reduce((total, { value }) => total + value, 0);
  return {
    slots: slots ?? readSlots(metrics),
    startedAt: seriesOf(metrics, 'process_start_time_seconds')[0]?.value,
    running: sum('vllm:num_requests_running'),
    waiting: sum('vllm:num_requests_waiting'),
  };
}

/** Each combination of adapters leaves its series behind for good; the value is the time at which it was last true. */
function readSlots(metrics: string): number | undefined {
  const newest = seriesOf(metrics, LORA_INFO).reduce<{ at: number; slots: number } | undefined>(
    (best, { labels, value }) => {
      const slots = Number(labels.get('max_lora'));
      return Number.isInteger(slots) && slots > 0 && value >= (best?.at ?? 0) ? { at: value, slots } : best;
    },
    undefined,
  );
  return newest?.slots;
}

const readVersion = ({ status, text }: Answer): string | undefined =>
  status === 200 ? z.object({ version: z.string() }).safeParse(parseJson(text)).data?.version : undefined;

/** Loading makes the gauge appear no more than listing does; one token of a base does, at once. */
async function learnSlots(line: Line, { bases }: Probe, signal: AbortSignal): Promise<Slots> {
  const guess = (note: string) => ({ slots: SLOTS_BY_DEFAULT, note });
  try {
    const before = await ask(line, { path: '/metrics' }, signal);
    if (declares(before.text, 'vllm:num_requests_running') && !declares(before.text, LORA_INFO))
      return guess(WITHOUT_LORA);
    // Ids instead of text: an engine may run without a tokenizer.
    const json = { model: bases[0]?.name, prompt: [1], max_tokens: 1 };
    await ask(line, { path: '/v1/completions', json }, signal);
    const slots = readSlots((await ask(line, { path: '/metrics' }, signal)).text);
    if (slots !== undefined) return { slots, note: undefined };
  } catch {
    // No answer: the guess below is all there is, and the next probe tells whether the engine still lives.
  }
  return guess(
    "the engine does not say how many adapters it runs at once, so one is assumed: set the backend's `slots` to its --max-loras",
  );
}

async function load(line: Line, { id, path }: Weights, signal: AbortSignal): Promise<LoadOutcome> {
  if (path === undefined) return WITHOUT_FILES;
  const json = { lora_name: id, lora_path: path };
  try {
    const answer = await ask(line, { path: '/v1/load_lora_adapter', json }, signal);
    if (answer.status === 200) return { kind: 'loaded' };
    if (isAlreadyLoaded(answer)) return await confirm(line, { id, path }, signal);
    if (isFromBetween(answer)) return { kind: 'unknown', message: messageOf(answer) };
    return { kind: 'failed', ...readRefusal(answer, { id, path }) };
  } catch (error) {
    return unanswered(error);
  }
}

async function unload(line: Line, adapter: AdapterId, signal: AbortSignal): Promise<UnloadOutcome> {
  try {
    const answer = await ask(line, { path: '/v1/unload_lora_adapter', json: { lora_name: adapter } }, signal);
    if (answer.status === 200 || isNotLoaded(answer)) return { kind: 'unloaded' };
    if (isFromBetween(answer)) return { kind: 'unknown', message: messageOf(answer) };
    if (isWithoutRoutes(answer)) return { kind: 'failed', message: WITHOUT_ROUTES };
    return { kind: 'failed', message: `the engine failed to unload it: ${messageOf(answer)}` };
  } catch (error) {
    const { kind, message } = asNoAnswer(error);
    return { kind: kind === 'refused' ? 'failed' : 'unknown', message };
  }
}
