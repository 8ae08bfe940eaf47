// The driver for LoRAX (predibase/lorax): it loads an adapter when the first request for it comes, by the path that is its name, and lets go of
// it by itself. A load is one token asked of it here, so that a refusal comes before anybody waits. Remembers nothing and decides nothing.
// Facts are of its source of 2026-05 (router/src/server.rs, lib.rs, infer.rs, loader.rs; launcher/src/main.rs).
import { z } from 'zod';
import { as, type BaseName, type Weights } from '../domain.ts';
import { type Answer, ask, type Line, unlessLate } from './ask.ts';
import { type Dialect, type Driver, type LoadOutcome, type Probe, WITHOUT_FILES } from './driver.ts';
import { askedForKey, isKeyless, parseJson, unanswered } from './model-list.ts';
import { seriesOf } from './prometheus.ts';
import { cannotSee, isFromBetween, messageOf, type Refusal } from './vllm-refusals.ts';

/** LoRAX's default for --max-active-adapters, which it does not tell. */
const SLOTS_BY_DEFAULT = 1024;

const info = z.object({ model_id: z.string(), version: z.string().nullish(), max_total_tokens: z.number().nullish() });

export interface LoraxOptions extends Line {
  readonly slots?: number | undefined;
  readonly pathFor: (path: string) => string;
}

const dialectOf = ({ pathFor }: LoraxOptions): Dialect => ({
  // By the path, which is immutable: its directory is named for what is in it. The base's own name means no adapter.
  modelOf: ({ base, checkpoint }) =>
    checkpoint?.adapter === undefined ? (checkpoint?.name ?? base) : pathFor(checkpoint.adapter.path),
  // Else it would look for the path on the hub, or where --default-adapter-source says. Said twice, it is refused.
  membersOf: ({ checkpoint }) => (checkpoint === undefined ? NO_MEMBERS : LOCAL),
  // Streams and completions say "null", chat answers the base.
  echoes: false,
  // Its /v1/embeddings takes no notice of `model`, its /tokenize another body; the others are not there.
  routes: new Set(['/v1/chat/completions', '/v1/completions']),
  unknownModel: {
    statuses: [424],
    says: ({ message }) => NO_FILES.test(message),
    isForgotten: true,
  },
});

const NO_MEMBERS = {};
const LOCAL = { adapter_source: 'local' };
/** sources/local.py, and Python's own words. */
const NO_FILES = /No local weights found|No such file|not found in/i;

export function createLoraxDriver(options: LoraxOptions): Driver {
  return {
    ...dialectOf(options),
    probe: (signal) => probe(options, signal),
    learnSlots: () => Promise.resolve({ slots: SLOTS_BY_DEFAULT, note: undefined }),
    load: (weights, signal) => load(options, weights, signal),
    unload: () => Promise.resolve({ kind: 'unloaded' }),
  };
}

async function probe({ slots, ...line }: LoraxOptions, signal: AbortSignal): Promise<Probe> {
  const get = (path: string) => ask(line, { path }, signal);
  const asking = unlessLate<Answer | undefined>(get('/health'), undefined);
  const [health, about, metrics] = await Promise.all([asking, get('/info'), get('/metrics')]);
  if (health?.status === 503) throw new Error(`${line.url} answers, but is unhealthy (GET /health gave 503)`);
  if (isKeyless(about)) throw askedForKey(line, '/info', about);
  const said = about.status === 200 ? info.safeParse(parseJson(about.text)).data : undefined;
  if (said === undefined)
    throw new Error(`${line.url} answers, but not as LoRAX does (GET /info): are the url and the kind right?`);
  return {
    bases: [
      { name: as<BaseName>(said.model_id), maxModelLen: said.max_total_tokens ?? undefined, root: said.model_id },
    ],
    adapters: undefined,
    slots: slots ?? SLOTS_BY_DEFAULT,
    startedAt: undefined,
    version: said.version ?? undefined,
    running: gauge(metrics, 'lorax_batch_current_size'),
    waiting: gauge(metrics, 'lorax_queue_length'),
  };
}

const gauge = ({ status, text }: Answer, family: string): number | undefined =>
  status === 200 ? seriesOf(text, family)[0]?.value : undefined;

async function load(line: Line, { path }: Weights, signal: AbortSignal): Promise<LoadOutcome> {
  if (path === undefined) return WITHOUT_FILES;
  const json = { inputs: 'a', parameters: { max_new_tokens: 1, adapter_id: path, ...LOCAL } };
  try {
    const answer = await ask(line, { path: '/generate', json }, signal);
    if (answer.status === 200 && /"generated_text"/.test(answer.text)) return { kind: 'loaded' };
    // 429: as many requests as it takes are under way.
    if (isFromBetween(answer) || answer.status === 429) return { kind: 'unknown', message: messageOf(answer) };
    return { kind: 'failed', ...refusalOf(answer, path) };
  } catch (error) {
    return unanswered(error);
  }
}

/** 424: the generation failed, and with it the load; 422: it did not begin. */
function refusalOf(answer: Answer, path: string): Refusal {
  const said = messageOf(answer);
  if (NO_FILES.test(said))
    return {
      fault: 'backend',
      message: cannotSee(path),
    };
  if (answer.status === 424 && !/out of memory|CUDA/i.test(said))
    return { fault: 'adapter', message: `the engine refused it: ${said}` };
  return { fault: 'backend', message: `the engine failed to load it: ${said}` };
}
