// With which program an engine may be started and in which environment, and whether at all: to start one is to run a program as the gateway's
// user. It starts nothing.
import { type Config, isLoopback, keyVariables } from '../config.ts';
import { StepgateError } from '../errors.ts';
import { findProgram, isSupported } from './processes.ts';
import { wordsOf } from './spec.ts';

interface Said {
  /** A name of `engines.commands`, or a command. Undefined: `engines.command`. */
  readonly said: string | undefined;
  /** Where programs are looked for, as in PATH. */
  readonly path: string | undefined;
}

/** The program and its first arguments. @throws StepgateError forbidden, invalid_request */
export async function programOf(config: Config, { said, path }: Said): Promise<readonly string[]> {
  checkEnabled(config);
  const { command: byDefault, commands } = config.engines;
  const named = said === undefined ? byDefault : Object.hasOwn(commands, said) ? commands[said] : undefined;
  const command = named ?? freeCommand(config, said ?? '');
  const [program = ''] = command;
  if (program.includes('/') && !program.startsWith('/'))
    throw refused(`write the whole path of ${program}: the gateway does not run in your directory`);
  if ((await findProgram(program, path)) !== undefined) return command;
  if (program.includes('/')) throw refused(`${program} is no program that the gateway's user may run`);
  const [install, rest] =
    program === 'vllm' ? ['install vLLM ("pip install vllm") where the gateway runs, or ', 'serve'] : ['', '...'];
  throw refused(
    `${program} is not on the gateway's PATH: ${install}say where it is: --engine-command "/path/to/${program} ${rest}", or engines.command in the config`,
  );
}

/**
 * What is the gateway's alone does not reach an engine, nor what would keep the gateway from reaching it. The Hub's token is also vLLM's own: it
 * fetches bases with it.
 */
export function environmentOf(config: Config, environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const secret = keyVariables(config);
  const isKept = (name: string) =>
    name === 'HF_TOKEN' || !(secret.has(name) || name === 'VLLM_API_KEY' || name.startsWith('STEPGATE_'));
  const kept = Object.entries(environment).filter(([name]) => isKept(name));
  return { ...Object.fromEntries(kept), VLLM_ALLOW_RUNTIME_LORA_UPDATING: '1' };
}

/** Also asked where one that has ended is to be started again. @throws StepgateError forbidden */
export function checkNotDisabled({ engines }: Config): void {
  if (engines.enabled === false) throw forbidden('engines.enabled in the config says that none is started here');
}

function checkEnabled(config: Config): void {
  const { engines, admin } = config;
  if (!isSupported())
    throw forbidden('engines of its own are started on Linux only: what it finds them again by is in /proc');
  checkNotDisabled(config);
  if (engines.enabled === undefined && !isLoopback(admin.host))
    throw forbidden(
      "the admin listener can be reached by others, and to start an engine is to run a program as the gateway's user: if that is meant, set engines.enabled: true",
    );
}

/** Any program at all, by who reaches the admin listener: only where that is this machine alone. */
function freeCommand({ admin, engines }: Config, said: string): readonly string[] {
  const names = Object.keys(engines.commands);
  if (!isLoopback(admin.host))
    throw forbidden(
      `--engine-command takes a name of engines.commands in the config here, since the admin listener can be reached by others; ${names.length === 0 ? 'there is none' : `there are ${names.join(', ')}`}`,
    );
  const words = wordsOf(said);
  if (words.length > 0) return words;
  throw refused('--engine-command is empty: write for example "/opt/vllm/bin/vllm serve"');
}

const refused = (message: string) => new StepgateError('invalid_request', message, { param: 'command' });
const forbidden = (message: string) => new StepgateError('forbidden', message);
