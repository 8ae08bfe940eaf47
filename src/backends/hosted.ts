// The driver for services that find a checkpoint by its name (Tinker, W&B, Fireworks, Together, OpenAI): nothing is loaded there, so that a load
// is done at once, and a name that the service does not know is found out by the first request. Remembers nothing and decides nothing.
import type { BaseName } from '../domain.ts';
import { type ModelTemplate, parseTemplate } from '../model-template.ts';
import { ask, type Line } from './ask.ts';
import type { Dialect, Driver, Probe } from './driver.ts';
import { askedForKey, isKeyless, parseJson } from './model-list.ts';
import { messageOf } from './vllm-refusals.ts';

/** Of how many checkpoints the gateway remembers at once that they were asked for there. No limit of the service. */
export const HOSTED_SLOTS = 1_000;

export interface HostedOptions extends Line {
  readonly bases?: readonly BaseName[] | undefined;
  /** Model -> the template of what its checkpoints are called there; the config has none that is not one. */
  readonly models?: Readonly<Record<string, string>> | undefined;
  /** Whether GET /v1/models says that it is there; else it is taken to be, until a connection fails. */
  readonly health?: 'models' | 'none' | undefined;
}

type Templates = ReadonlyMap<string, ModelTemplate>;

/** OpenAI's and Together's; Together gives the second with 400, for one that it knows and does not serve. */
const UNKNOWN_CODES = new Set<unknown>(['model_not_found', 'model_not_available']);
const UNKNOWN = /^(the )?model\b.{0,300}\b(not found|does not exist)/is;

/** A 404 is told of a route too, or of a model that the route is not for: then it is the caller's to read, and the model is served on. */
const isOfModel = (message: string): boolean =>
  /\b(model|checkpoint|adapter|lora|weights|artifact|deployment)s?\b/i.test(message) &&
  !/\bnot supported\b/i.test(message);

const dialectOf = (templates: Templates): Dialect => ({
  modelOf: ({ base, checkpoint }) => {
    if (checkpoint === undefined) return base;
    const name = templates.get(checkpoint.model)?.fill(checkpoint);
    // Such a load fails, so that it is never asked for; and no other name may stand in its place.
    if (name === undefined) throw new Error(`no template names ${checkpoint.name}`);
    return name;
  },
  echoes: false,
  routes: new Set(['/v1/chat/completions', '/v1/completions', '/v1/embeddings']),
  unknownModel: {
    statuses: [400, 404],
    says: ({ code, message }, status) =>
      UNKNOWN_CODES.has(code) || (status === 404 ? isOfModel(message) : UNKNOWN.test(message)),
    isForgotten: false,
  },
});

export function createHostedDriver(options: HostedOptions): Driver {
  const templates = templatesOf(options.models ?? {});
  return {
    ...dialectOf(templates),
    probe: (signal) => probe(options, signal),
    learnSlots: () => Promise.resolve({ slots: HOSTED_SLOTS, note: undefined }),
    load: async ({ checkpoint }) => {
      if (templates.get(checkpoint.model)?.fill(checkpoint) !== undefined) return { kind: 'loaded' };
      const message = `its \`models\` name no ${checkpoint.name}: the template of ${checkpoint.model} asks for a step, or is not there`;
      return { kind: 'failed', fault: 'backend', message };
    },
    unload: () => Promise.resolve({ kind: 'unloaded' }),
  };
}

function templatesOf(models: Readonly<Record<string, string>>): Templates {
  return new Map(
    Object.entries(models).flatMap(([model, text]) => {
      const template = parseTemplate(text);
      return typeof template === 'string' ? [] : [[model, template] as const];
    }),
  );
}

async function probe(options: HostedOptions, signal: AbortSignal): Promise<Probe> {
  if (options.health !== 'none') await look(options, signal);
  return {
    bases: (options.bases ?? []).map((name) => ({ name, maxModelLen: undefined })),
    adapters: undefined,
    slots: HOSTED_SLOTS,
    startedAt: undefined,
    version: undefined,
    running: undefined,
    waiting: undefined,
  };
}

/** What it lists is of no use: services do not list each checkpoint. 429: it is there, and busy. */
async function look(line: Line, signal: AbortSignal): Promise<void> {
  const answer = await ask(line, { path: '/v1/models' }, signal);
  const isList = answer.status === 200 && parseJson(answer.text) !== undefined;
  if (isList || answer.status === 429) return;
  if (isKeyless(answer)) throw askedForKey(line, '/v1/models', answer);
  if (answer.status === 200)
    throw new Error(
      `${line.url} answers, but not as a service of OpenAI's API does (GET /v1/models): is the url right?`,
    );
  const hint =
    answer.status === 404
      ? 'is the url right (without /v1)? Where the service has no such list, set the backend\'s `health` to "none"'
      : messageOf(answer);
  throw new Error(`${line.url} gave ${answer.status} to GET /v1/models: ${hint}`);
}
