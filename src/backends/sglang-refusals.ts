// What SGLang's answers to loads and unloads mean: whose fault, and what to do. It says so in messages only, in a shape of its own.
// Messages are of lora_manager.py, lora_registry.py and lora_config.py. Pure: no IO here.
import { z } from 'zod';
import type { Answer } from './ask.ts';
import { type Loading, parseJson } from './model-list.ts';
import { cannotSee, messageOf, type Refusal } from './vllm-refusals.ts';

const answer = z.object({ success: z.boolean(), error_message: z.string().nullish() });
export type LoraAnswer = z.infer<typeof answer>;

/** Undefined: SGLang did not answer, or not to a load or unload. */
export const readAnswer = ({ text }: Answer): LoraAnswer | undefined => answer.safeParse(parseJson(text)).data;

/** The loader's words, and those of the registry in front of it. */
export const isLoaded = ({ error_message }: LoraAnswer): boolean =>
  /is already loaded|LoRA with name .* already exists/s.test(error_message ?? '');
export const isUnknown = ({ error_message }: LoraAnswer): boolean => /does not exist/.test(error_message ?? '');

export const WITHOUT_LORA =
  'the engine runs without LoRA: start it with --enable-lora, --max-lora-rank and --lora-target-modules all';

const backend = (message: string): Refusal => ({ fault: 'backend', message });
const adapter = (message: string): Refusal => ({ fault: 'adapter', message });

const ROWS: readonly (readonly [RegExp, (said: string, loading: Loading) => Refusal])[] = [
  [/LoRA is not enabled/i, () => backend(WITHOUT_LORA)],
  [
    // A path that is no directory there is taken for a repository of the hub.
    /No such file|Repo id must|Repository Not Found|HFValidationError|adapter_config\.json/i,
    (_, { path }) => backend(cannotSee(path)),
  ],
  [
    /memory pool configuration|max-lora-rank|lora-target-modules/i,
    (said) =>
      adapter(
        `the engine refused it: ${said} (start it with a greater --max-lora-rank, and --lora-target-modules all)`,
      ),
  ],
  [
    /DoRA|add tokens to the vocabulary|not supported|incompatible/i,
    (said) => adapter(`the engine refused it: ${said}`),
  ],
];

const WITHOUT_ROUTES =
  'the engine has no route to load adapters: is it SGLang, of a version that loads them while it runs (0.4.10 and later)?';

/** What an answer to a load means that is neither success, nor `isLoaded`, nor from something in front of the engine. */
export function readRefusal(reply: Answer, loading: Loading): Refusal {
  if (reply.status === 404) return backend(WITHOUT_ROUTES);
  const said = (readAnswer(reply)?.error_message ?? messageOf(reply)).replace(/\s+/g, ' ').slice(0, 300);
  for (const [pattern, refusal] of ROWS) if (pattern.test(said)) return refusal(said, loading);
  if (reply.status === 500)
    return backend(
      `the engine failed to load it: ${said}; its log says why (with --dp-size it takes loads only with --enable-dp-attention)`,
    );
  // It tells nothing else of the adapter's faults from its own: others may be tried.
  return backend(`the engine failed to load it: ${said}`);
}
