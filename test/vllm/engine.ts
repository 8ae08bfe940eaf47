// Starts the real vLLM on the CPU for tests: installs it once, makes a tiny model with six checkpoints, serves it on a free port.
// With VLLM_URL it uses an engine that runs already; VLLM_ADAPTERS is then the trainer's directory that the engine can read.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { basename, join, resolve } from 'node:path';

const HERE = import.meta.dirname;
const HOME = join(HERE, '../../.vllm');
const READY_MS = 300_000;

export interface Vllm {
  readonly url: string;
  readonly base: string;
  /** --max-loras. */
  readonly slots: number;
  /** A trainer's output directory in HF layout. */
  readonly runs: string;
  /** Its checkpoints by step; their greedy answers differ. */
  readonly checkpoints: ReadonlyMap<number, string>;
  /** A directory that the engine can read and a test can fill; removed by `close`. */
  readonly scratch: string;
  /** It was started by this call and has served nobody. */
  readonly fresh: boolean;
  close(): Promise<void>;
}

export interface VllmOptions {
  readonly slots?: number;
  readonly cpuLoras?: number;
  /** More of vLLM's own. */
  readonly flags?: readonly string[];
}

export async function startVllm({ slots = 2, cpuLoras = 4, flags = [] }: VllmOptions = {}): Promise<Vllm> {
  const { VLLM_URL, VLLM_ADAPTERS, VLLM_SLOTS, VLLM_VENV } = process.env;
  await mkdir(HOME, { recursive: true });
  const scratch = await mkdtemp(join(HOME, 'scratch-'));
  const removeScratch = () => rm(scratch, { recursive: true, force: true });
  if (VLLM_URL) {
    if (!VLLM_ADAPTERS)
      throw new Error('VLLM_URL needs VLLM_ADAPTERS: the directory of checkpoint-<step> directories for its base.');
    const url = VLLM_URL.replace(/\/$/, '');
    const found = { url, base: await baseOf(url), slots: Number(VLLM_SLOTS ?? slots), runs: resolve(VLLM_ADAPTERS) };
    return { ...found, checkpoints: await checkpointsIn(found.runs), scratch, fresh: false, close: removeScratch };
  }
  const venv = resolve(VLLM_VENV ?? join(HOME, 'venv'));
  const model = join(HOME, 'model');
  await run(join(HERE, 'install.sh'), [venv]);
  if (!(await exists(join(model, 'COMPLETE')))) {
    say('making a model and its checkpoints');
    await run(join(venv, 'bin/python'), [join(HERE, 'make_model.py'), model]);
  }
  const port = await freePort();
  const engine = await serve([venv, model, String(port), String(slots), String(cpuLoras), ...flags], port);
  const runs = join(model, 'outputs/my-model');
  const close = async () => {
    await stop(engine);
    await removeScratch();
  };
  return {
    url: `http://127.0.0.1:${port}`,
    base: 'base',
    slots,
    runs,
    checkpoints: await checkpointsIn(runs),
    scratch,
    fresh: true,
    close,
  };
}

/** Resolves when it answers; what it says goes to .vllm/serve.log. */
async function serve(args: readonly string[], port: number): Promise<ChildProcess> {
  const log = join(HOME, 'serve.log');
  const file = await open(log, 'w');
  const engine = spawn(join(HERE, 'serve.sh'), args, { stdio: ['ignore', file.fd, file.fd] });
  await file.close();
  // A test run that is cut short must not leave it behind.
  process.once('exit', () => engine.kill('SIGKILL'));
  const startedAt = performance.now();
  let saidAt = startedAt;
  while (!(await healthy(`http://127.0.0.1:${port}`))) {
    const now = performance.now();
    if (engine.exitCode !== null || engine.signalCode !== null || now - startedAt > READY_MS) {
      await stop(engine);
      const tail = (await readFile(log, 'utf8')).split('\n').slice(-15).join('\n');
      throw new Error(`vLLM did not come up; the end of ${basename(HOME)}/serve.log:\n${tail}`);
    }
    if (now - saidAt > 10_000) {
      saidAt = now;
      say(`waiting for vLLM on port ${port}, ${Math.round((now - startedAt) / 1000)} s`);
    }
    await new Promise((tick) => setTimeout(tick, 250));
  }
  say(`vLLM is up on port ${port} after ${Math.round((performance.now() - startedAt) / 1000)} s`);
  return engine;
}

async function stop(engine: ChildProcess): Promise<void> {
  if (engine.exitCode !== null || engine.signalCode !== null) return;
  const ended = once(engine, 'exit');
  engine.kill('SIGTERM');
  const hard = setTimeout(() => engine.kill('SIGKILL'), 15_000);
  await ended;
  clearTimeout(hard);
}

async function run(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${basename(command)} ended with ${code}; its output is above.`);
}

async function checkpointsIn(runs: string): Promise<Map<number, string>> {
  const names = (await readdir(runs)).filter((name) => /^checkpoint-\d+$/.test(name));
  const steps = names.map((name) => [Number(name.slice('checkpoint-'.length)), join(runs, name)] as const);
  return new Map(steps.sort(([a], [b]) => a - b));
}

async function baseOf(url: string): Promise<string> {
  const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] };
  const [base] = data;
  if (!base) throw new Error(`${url} lists no model`);
  return base.id;
}

const healthy = (url: string): Promise<boolean> =>
  fetch(`${url}/health`).then(
    ({ ok }) => ok,
    () => false,
  );

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}
