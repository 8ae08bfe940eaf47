// `stepgate sim`: a simulated vLLM on a port of its own. Thin: options in, two lines out; the engine is src/sim's.
import { Command, InvalidArgumentError, Option } from 'commander';
import { Failure, type Terminal } from './terminal.ts';

interface SimFlags {
  readonly host: string;
  readonly port: number;
  readonly base: readonly string[];
  readonly maxLoras: number;
  readonly maxCpuLoras?: number;
  readonly maxLoraRank: number;
  readonly maxModelLen: number;
  readonly maxNumSeqs: number;
  readonly loadMs: number;
  readonly firstTokenMs: number;
  readonly tokenMs: number;
  readonly speed: number;
  readonly runtimeLora: boolean;
  readonly poison?: readonly string[];
}

const count = (text: string): number =>
  numberOf(text, (value) => Number.isInteger(value) && value >= 1, 'a whole number, 1 or more');
const ms = (text: string): number => numberOf(text, (value) => value >= 0, 'milliseconds, 0 or more');
const factor = (text: string): number => numberOf(text, (value) => value > 0, 'a number over 0');
const port = (text: string): number =>
  numberOf(text, (value) => Number.isInteger(value) && value >= 0 && value < 65_536, 'a port, 0 to 65535');

function numberOf(text: string, good: (value: number) => boolean, wanted: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(value) || !good(value)) throw new InvalidArgumentError(`Give ${wanted}.`);
  return value;
}

export function simCommand(terminal: Terminal): Command {
  return new Command('sim')
    .summary('run a simulated vLLM, to try stepgate without a GPU')
    .description(
      [
        'Runs a simulated vLLM 0.32: its routes, messages, limits and quirks, without a model or a GPU.',
        'It loads real adapter files (bad ones fail as in vLLM) and answers with text that names the adapter that spoke:',
        '  [my-model@5 sha:1a2b3c4d] the loss falls ...',
        'where the digits are the start of "sha256sum adapter_model.safetensors". Ctrl-C ends it.',
      ].join('\n'),
    )
    .option('--port <port>', 'port to listen on; 0 takes a free one', port, 8100)
    .option('--host <host>', 'address to listen on', '127.0.0.1')
    .addOption(new Option('--base <name...>', 'served name of the base; several are aliases').default(['base'], 'base'))
    .option('--max-loras <n>', 'adapters that can run at once (slots)', count, 2)
    .option(
      '--max-cpu-loras <n>',
      'adapters kept in memory; others are read again when used (default: --max-loras)',
      count,
    )
    .option('--max-lora-rank <n>', 'largest rank that loads', count, 16)
    .option('--max-model-len <tokens>', 'prompt and answer together; one token is one byte here', count, 32_768)
    .option('--max-num-seqs <n>', 'sequences that run at once', count, 256)
    .option('--load-ms <ms>', 'time to load an adapter; all decoding stalls meanwhile, as in vLLM', ms, 200)
    .option('--poison <name...>', 'adapters that it dies of when it loads them, to see a quarantine')
    .option('--first-token-ms <ms>', 'time to the first token', ms, 40)
    .option('--token-ms <ms>', 'time per token of one sequence alone; each further one adds 3 %', ms, 10)
    .option('--speed <factor>', 'divides all three times', factor, 1)
    .option('--no-runtime-lora', 'without the load and unload routes, as vLLM without VLLM_ALLOW_RUNTIME_LORA_UPDATING')
    .addHelpText(
      'after',
      [
        '',
        'Example:',
        '  stepgate sim --port 8100 &',
        '  curl http://127.0.0.1:8100/v1/load_lora_adapter \\',
        "    -H 'content-type: application/json' \\",
        '    -d \'{"lora_name": "my-model@5", "lora_path": "/runs/my-model/checkpoint-5"}\'',
      ].join('\n'),
    )
    .action((flags: SimFlags) => runSim(flags, terminal));
}

async function runSim(flags: SimFlags, terminal: Terminal): Promise<void> {
  // Imported only here: the other commands start sooner without the engine's modules.
  const { startSim } = await import('../sim/sim.ts');
  const { poison = [], ...rest } = flags;
  const deadly = Object.fromEntries(poison.map((name) => [name, 'load'] as const));
  const sim = await startSim({ ...rest, poison: deadly }).catch((error: unknown) => {
    throw new Failure(sentenceFor(error, flags));
  });
  const [base] = flags.base;
  terminal.out(`simulated vLLM on ${sim.url}: base "${base}", ${flags.maxLoras} adapters at once. Ctrl-C ends it.`);
  terminal.out(
    `curl ${sim.url}/v1/completions -H 'content-type: application/json' -d '{"model": "${base}", "prompt": "hello"}'`,
  );
  await terminal.stopped();
  await sim.close();
}

function sentenceFor(error: unknown, { host, port }: SimFlags): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE')
    return `port ${port} is taken. Stop what listens there, or give another: --port ${port + 1}, or --port 0 for a free one.`;
  if (code === 'EACCES') return `not allowed to listen on port ${port}. Give one over 1023: --port 8100.`;
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
    return `this machine has no address ${host}. Try --host 127.0.0.1.`;
  return `cannot listen on ${host}:${port}: ${error instanceof Error ? error.message : String(error)}`;
}
