// The driver for SGLang: its routes, and what its answers mean. Remembers nothing and decides nothing. Facts are of its source of 2026
// (http_server.py, serving_base.py, tokenizer_control_mixin.py, lora_manager.py, lora_registry.py); older versions are said where they differ.
// A name without "base:" before it is served by the base, without a word, and so is one on a route that does not obey adapters.
import { z } from 'zod';
import type { AdapterId, Checkpoint, Weights } from '../domain.ts';
import { type Answer, ask, type Line, unlessLate } from './ask.ts';
import {
  type Dialect,
  type Driver,
  type LoadOutcome,
  type Probe,
  type Slots,
  type UnloadOutcome,
  WITHOUT_FILES,
} from './driver.ts';
import { askedForKey, asNoAnswer, confirm, isKeyless, parseJson, readModelList, unanswered } from './model-list.ts';
import { seriesOf } from './prometheus.ts';
import { isLoaded, isUnknown, readAnswer, readRefusal, WITHOUT_LORA } from './sglang-refusals.ts';
import { isFromBetween, messageOf } from './vllm-refusals.ts';

/** SGLang's default for --max-loras-per-batch. */
const PER_BATCH_BY_DEFAULT = 8;

const serverInfo = z.object({
  version: z.string().nullish(),
  enable_lora: z.boolean().nullish(),
  max_loras_per_batch: z.number().int().min(1).nullish(),
});
type ServerInfo = z.infer<typeof serverInfo>;

const adapterOf = ({ adapter, name }: Checkpoint): string => adapter?.id ?? name;

const DIALECT: Dialect = {
  // It is split at the first colon, so that the adapter's own may stay; bases with one are refused by `probe`.
  modelOf: ({ base, checkpoint }) => (checkpoint === undefined ? base : `${base}:${adapterOf(checkpoint)}`),
  // Versions before 0.5.4 look for the adapter here alone, and none behind a colon; later ones prefer the model's. A caller's own would have another
  // adapter answer, past the gateway. Of equal keys the last counts.
  membersOf: ({ checkpoint }) => ({ lora_path: checkpoint === undefined ? null : adapterOf(checkpoint) }),
  echoes: false,
  routes: new Set(['/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/tokenize', '/detokenize']),
  unknownModel: {
    statuses: [400],
    says: ({ message }) => /LoRA adapter that has never been loaded|LoRA adapters are not loaded/i.test(message),
    isForgotten: true,
  },
};

/** `slots`: what the config says; it wins over the engine's word. */
export function createSglangDriver({ slots, ...line }: Line & { readonly slots?: number | undefined }): Driver {
  return {
    ...DIALECT,
    probe: (signal) => probe(line, slots, signal),
    learnSlots: (_, signal) => learnSlots(line, signal),
    load: (weights, signal) => load(line, weights, signal),
    unload: (adapter, signal) => unload(line, adapter, signal),
  };
}

async function probe(line: Line, slots: number | undefined, signal: AbortSignal): Promise<Probe> {
  const get = (path: string) => ask(line, { path }, signal);
  // Not /health: that is a generation, which takes a second at least and all of a prefill that is under way.
  const asking = unlessLate<ServerInfo | undefined>(askInfo(line, signal), {});
  const [models, metrics, info] = await Promise.all([get('/v1/models'), get('/metrics'), asking]);
  if (isKeyless(models)) throw askedForKey(line, '/v1/models', models);
  const listed = readModelList(models);
  if (listed === undefined || info === undefined) throw notSglang(line);
  const split = listed.bases.find(({ name }) => name.includes(':'));
  if (split !== undefined)
    throw new Error(
      `${line.url} serves "${split.name}", and takes what is behind a colon for an adapter's name: start it with --served-model-name and a name without one`,
    );
  return {
    ...listed,
    slots: slots ?? slotsOf(info),
    // Its metrics are those of several processes, which tell no start.
    startedAt: undefined,
    version: info.version ?? undefined,
    running: gauge(metrics, 'sglang:num_running_reqs'),
    waiting: gauge(metrics, 'sglang:num_queue_reqs'),
  };
}

/** Older versions know it by the second name alone; newer ones write a warning into their log for each question by that name. */
async function askInfo(line: Line, signal: AbortSignal): Promise<ServerInfo | undefined> {
  for (const path of ['/server_info', '/get_server_info']) {
    const { status, text } = await ask(line, { path }, signal);
    if (status === 200) return serverInfo.safeParse(parseJson(text)).data;
  }
  return undefined;
}

const notSglang = ({ url }: Line): Error =>
  new Error(
    `${url} answers, but not as SGLang does (GET /v1/models and /server_info): are the url and the kind right?`,
  );

/** The base counts as one of a batch, so that with all of them taken its requests would wait for ever. */
const slotsOf = ({ enable_lora, max_loras_per_batch }: ServerInfo): number | undefined =>
  enable_lora === false || max_loras_per_batch == null ? undefined : Math.max(1, max_loras_per_batch - 1);

/** One series per process; without --enable-metrics there are none. */
function gauge({ status, text }: Answer, family: string): number | undefined {
  const series = status === 200 ? seriesOf(text, family) : [];
  return series.length === 0 ? undefined : series.reduce((sum, { value }) => sum + value, 0);
}

async function learnSlots(line: Line, signal: AbortSignal): Promise<Slots> {
  const info = await askInfo(line, signal).catch(() => undefined);
  if (info?.enable_lora === false) return { slots: 1, note: WITHOUT_LORA };
  const slots = info && slotsOf(info);
  if (slots !== undefined) return { slots, note: undefined };
  const note =
    "the engine does not say how many adapters it runs at once: set the backend's `slots` to its --max-loras-per-batch less one, for the base";
  return { slots: PER_BATCH_BY_DEFAULT - 1, note };
}

async function load(line: Line, { id, path }: Weights, signal: AbortSignal): Promise<LoadOutcome> {
  if (path === undefined) return WITHOUT_FILES;
  try {
    const json = { lora_name: id, lora_path: path, pinned: false };
    const answer = await ask(line, { path: '/load_lora_adapter', json }, signal);
    const said = readAnswer(answer);
    if (said?.success === true) return { kind: 'loaded' };
    if (said !== undefined && isLoaded(said)) return unlisted(await confirm(line, { id, path }, signal));
    if (isFromBetween(answer)) return { kind: 'unknown', message: messageOf(answer) };
    return { kind: 'failed', ...readRefusal(answer, { id, path }) };
  } catch (error) {
    return unanswered(error);
  }
}

/** It loads one after the other, so that what it holds is in its list; to ask again shows nothing else. */
const unlisted = (outcome: LoadOutcome): LoadOutcome =>
  outcome.kind !== 'unknown'
    ? outcome
    : {
        kind: 'failed',
        fault: 'backend',
        message: `${outcome.message} in /v1/models: restart it, and where that does not help start SGLang 0.5.5 or later`,
      };

/** Answered only when the last request of it has ended; none is under way when the gateway asks. */
async function unload(line: Line, adapter: AdapterId, signal: AbortSignal): Promise<UnloadOutcome> {
  try {
    const answer = await ask(line, { path: '/unload_lora_adapter', json: { lora_name: adapter } }, signal);
    const said = readAnswer(answer);
    if (said?.success === true || (said !== undefined && isUnknown(said))) return { kind: 'unloaded' };
    if (isFromBetween(answer)) return { kind: 'unknown', message: messageOf(answer) };
    const why = said?.error_message ?? messageOf(answer);
    return { kind: 'failed', message: `the engine failed to unload it: ${why}` };
  } catch (error) {
    const { kind, message } = asNoAnswer(error);
    return { kind: kind === 'refused' ? 'failed' : 'unknown', message };
  }
}
