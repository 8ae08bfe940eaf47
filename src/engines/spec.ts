// How one engine of the gateway's own is started and reached: what is decided once, when it is asked for, and kept in its row. Pure.
import { z } from 'zod';
import type { BackendConfig } from '../config.ts';
import { StepgateError } from '../errors.ts';
import type { EngineRow } from '../registry/store.ts';

const Spec = z.object({
  /** The program and all its arguments. */
  argv: z.array(z.string()),
  url: z.string(),
  /** The base's served name, as far as is known. */
  base: z.string(),
  /** What to ask for: a checkpoint's name, or the base's. */
  model: z.string(),
  slots: z.number().optional(),
  /** 0: it takes no adapters. */
  rankMax: z.number().optional(),
  /** It has failed when it is not ready by then. */
  waitMs: z.number(),
});
export type EngineSpec = Readonly<z.output<typeof Spec>>;

export const specOf = ({ spec }: Pick<EngineRow, 'spec'>): EngineSpec => Spec.parse(spec);

export function backendOf({ name, spec }: Pick<EngineRow, 'name' | 'spec'>): BackendConfig {
  const { url, slots, rankMax } = specOf({ spec });
  return Object.freeze({ name, url, kind: 'vllm', ...(slots && { slots }), ...(rankMax !== undefined && { rankMax }) });
}

export interface CommandParts {
  /** The program and its first arguments. */
  readonly command: readonly string[];
  /** A path or a hub's id. */
  readonly root: string;
  readonly base: string;
  readonly port: number;
  /** The greatest rank that it must serve; undefined: no adapters. */
  readonly rank: number | undefined;
  /** They go as they are, and win over ours. */
  readonly flags: readonly string[];
}

/** vLLM takes no others. */
const RANKS = [16, 32, 64, 128, 256, 320, 512];
const SLOTS = 4;
/** By these it would be reached in another way than the gateway does, or not at all. */
const REFUSED = ['api-key', 'ssl-keyfile', 'ssl-certfile', 'uds', 'root-path', 'headless', 'help', 'version'];

/** @throws StepgateError invalid_request for flags with which the gateway could not reach it */
export function commandOf({
  command,
  root,
  base,
  port,
  rank,
  flags,
}: CommandParts): Omit<EngineSpec, 'waitMs' | 'model'> {
  for (const name of REFUSED)
    if (flagIn(flags, name) !== undefined)
      throw refused(
        `--${name} is not taken: an engine of the gateway's own is reached by it alone, at a port of this machine. Start such an engine yourself, and list it under "backends" in the config`,
      );
  const adapters: [string, string?][] =
    rank === undefined
      ? []
      : [['enable-lora'], ['max-loras', `${SLOTS}`], ['max-lora-rank', `${RANKS.find((one) => one >= rank) ?? rank}`]];
  const ours: [string, string?][] = [
    ...adapters,
    ['served-model-name', base],
    ['port', `${port}`],
    ['host', '127.0.0.1'],
  ];
  const kept = ours.filter(([name]) => flagIn(flags, name) === undefined);
  const argv = [
    ...command,
    root,
    ...kept.flatMap(([name, value]) => [`--${name}`, ...(value === undefined ? [] : [value])]),
  ];
  const count = (name: string) => Number(flagIn([...argv, ...flags], name)) || undefined;
  const lora = [...argv, ...flags].filter((flag) => /^--(no-)?enable[-_]lora$/.test(flag)).at(-1);
  const takesAdapters = lora !== undefined && !lora.startsWith('--no-');
  const host = flagIn(flags, 'host') ?? '127.0.0.1';
  const reached = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host;
  const url = `http://${reached}:${portIn(flags) ?? port}`;
  if (!URL.canParse(url)) throw refused(`--host ${JSON.stringify(host)} is no address`);
  return {
    argv: [...argv, ...flags],
    url,
    base: flagIn(flags, 'served-model-name') ?? base,
    slots: takesAdapters ? count('max-loras') : 1,
    rankMax: takesAdapters ? count('max-lora-rank') : 0,
  };
}

/** Where the flags say that it listens; undefined: they do not. @throws StepgateError invalid_request */
export function portIn(flags: readonly string[]): number | undefined {
  const text = flagIn(flags, 'port');
  if (text === undefined) return undefined;
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw refused(`--port ${text} is no port`);
}

/** The last one's, '' where it has none; undefined: it is not there. As vLLM reads them: `--max_loras 2`, `--max-loras=2`, `--no-enable-lora`. */
function flagIn(flags: readonly string[], name: string): string | undefined {
  let found: string | undefined;
  flags.forEach((flag, index) => {
    if (!flag.startsWith('--')) return;
    const [said = '', value] = split(flag.slice(2), '=');
    const key = said.replaceAll('_', '-');
    if (key !== name && key !== `no-${name}`) return;
    const next = flags[index + 1];
    found = value ?? (next === undefined || next.startsWith('--') ? '' : next);
  });
  return found;
}

function split(text: string, at: string): [string, string?] {
  const index = text.indexOf(at);
  return index === -1 ? [text] : [text.slice(0, index), text.slice(index + 1)];
}

/**
 * `env X=1 "my vllm" serve` -> its words, as a shell would part them: quotes and backslashes, nothing else.
 * @throws StepgateError invalid_request for a quote that does not end
 */
export function wordsOf(text: string): string[] {
  const words: string[] = [];
  const word = /((?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+)\s*/gsy;
  const trimmed = text.trim();
  for (let end = 0; end < trimmed.length; end = word.lastIndex) {
    word.lastIndex = end;
    const [, raw] = word.exec(trimmed) ?? [];
    if (raw === undefined) throw refused(`${JSON.stringify(text)}: a quote in it does not end`);
    words.push(
      raw.replace(
        /\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'/gs,
        (_, escaped, double, single) => escaped ?? double?.replace(/\\(.)/gs, '$1') ?? single,
      ),
    );
  }
  return words;
}

const refused = (message: string) => new StepgateError('invalid_request', message, { param: 'flags' });
