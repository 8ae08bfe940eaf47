// What vLLM's refusals mean: whose fault, and what to do. It says so in messages only (statuses changed between versions), so this
// is one ordered table of messages. Every row was seen on 0.32.0 unless it says otherwise. Pure: no IO here.
import type { Answer } from './ask.ts';
import { type Loading, parseJson } from './model-list.ts';

export interface Refusal {
  readonly fault: 'adapter' | 'backend';
  /** For people; says what to do where we know. */
  readonly message: string;
}

/** Longer ones list every module of a model. */
const MESSAGE_CHARS_MAX = 300;

/** The engine's own words, unwrapped and on one line: of `{"error":{"message"}}`, of the flat shape of older versions, of FastAPI's. */
export function messageOf({ status, type, text }: Answer): string {
  const words = spoken(parseJson(text)) ?? (/html/i.test(type) ? '' : text);
  const line = unwrapped(words).replace(/\s+/g, ' ').trim();
  if (line === '') return `it gave no reason (HTTP ${status}${type === '' ? '' : ` ${type}`}); its log may`;
  return line.length > MESSAGE_CHARS_MAX ? `${line.slice(0, MESSAGE_CHARS_MAX)}...` : line;
}

const WRAPPED = ["Worker failed with error '", "', please check"] as const;

/** Not by a pattern: that would take the square of the length where the wrapping begins often and never ends. */
function unwrapped(words: string): string {
  const begin = words.indexOf(WRAPPED[0]) + WRAPPED[0].length;
  const end = words.lastIndexOf(WRAPPED[1]);
  return begin < WRAPPED[0].length || end < begin ? words : words.slice(begin, end);
}

/** Neither vLLM nor FastAPI answered: something in front of them did, and nobody knows how the engine fared. */
export const isFromBetween = ({ status, text }: Answer): boolean =>
  status >= 502 && status <= 504 && spoken(parseJson(text)) === undefined;

/** The routes that load and unload are not there. */
export const isWithoutRoutes = ({ status, text }: Answer): boolean =>
  status === 404 && spoken(parseJson(text)) === 'Not Found';

export const isAlreadyLoaded = (answer: Answer): boolean => /has already been loaded/.test(answer.text);
export const isNotLoaded = (answer: Answer): boolean => /cannot be found/.test(answer.text);

export const WITHOUT_ROUTES =
  'the engine has no route to load or unload adapters: start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 in its environment';
export const WITHOUT_LORA = 'the engine runs without LoRA: start it with --enable-lora';

/** Of any kind of engine that reads files. */
export const cannotSee = (path: string): string =>
  `the engine cannot see ${path}: does it share the gateway's data directory, and may its user read there (stepgate doctor)? If it mounts it under another path, set the backend's \`storePath\``;

type Row = readonly [RegExp, (match: RegExpExecArray, adapter: Loading) => Refusal];

const adapterFault = (message: string): Refusal => ({ fault: 'adapter', message });
const backendFault = (message: string): Refusal => ({ fault: 'backend', message });

const ROWS: readonly Row[] = [
  [/LoRA is not enabled/i, () => backendFault(WITHOUT_LORA)],
  [/No adapter found for/, (_, { path }) => backendFault(cannotSee(path))],
  [
    /LoRA rank (\d+) is greater than max_lora_rank (\d+)/,
    ([, rank, max]) =>
      adapterFault(
        `its rank ${rank} is over the engine's ${max}: start the engine with --max-lora-rank ${rankFlag(Number(rank))}`,
      ),
  ],
  [
    /conflicts with a served base model/,
    (_, { id }) => adapterFault(`the engine serves a base named ${id}: register it under another name`),
  ],
];

/** In vLLM's wrapping, yet no fault of the adapter's; the first and the third are inferred from its source. */
const ENGINE_TROUBLE = /out of memory|CUDA|No free lora slots|EngineCore|EngineDead/i;
/** Reading or checking the adapter failed. Unwrapped in older versions, so by their words too. */
const ADAPTER_TROUBLE =
  /Worker failed with error|validation error|DoRA|bias|modules_to_save|target modules|contain tensors|deserializing|unsupported LoRA weight|max_lora_rank/i;

/** What an answer to a load means that is neither success, nor `isAlreadyLoaded`, nor `isFromBetween`. */
export function readRefusal(answer: Answer, adapter: Loading): Refusal {
  if (isWithoutRoutes(answer)) return backendFault(WITHOUT_ROUTES);
  const words = spoken(parseJson(answer.text)) ?? answer.text;
  for (const [pattern, refusal] of ROWS) {
    const match = pattern.exec(words);
    if (match !== null) return refusal(match, adapter);
  }
  const said = messageOf(answer);
  return !ENGINE_TROUBLE.test(words) && ADAPTER_TROUBLE.test(words)
    ? adapterFault(`the engine refused it: ${said}`)
    : backendFault(`the engine failed to load it: ${said}`);
}

/** The flag takes only these. */
const RANKS = [1, 8, 16, 32, 64, 128, 256, 320, 512];
const rankFlag = (rank: number): number => RANKS.find((allowed) => allowed >= rank) ?? rank;

/** Undefined when it is an error in none of the known shapes. */
function spoken(body: unknown): string | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  if ('error' in body) return typeof body.error === 'string' ? body.error : spoken(body.error);
  if ('message' in body && typeof body.message === 'string') return body.message;
  if ('detail' in body) return typeof body.detail === 'string' ? body.detail : JSON.stringify(body.detail);
  return undefined;
}
