// Runs other people's programs as a person would: a shell, a directory, the harnesses' own virtual environment first on the PATH.
// Says what it runs and how long it took; of one that fails it shows the last lines. Knows nothing of what they do.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

export interface RunOptions {
  readonly cwd: string;
  /** A virtual environment. */
  readonly venv: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What is told of it; default: the command's first words. */
  readonly title?: string;
  /** Then it is killed; default: five minutes. */
  readonly timeoutMs?: number;
  /** Is told how it ended, in a line; default: stderr. */
  readonly tell?: (line: string) => void;
}

const LAST_LINES = 25;
/** Nothing is fetched while tests run; no output that draws over itself; two cores are shared by all. */
const QUIET = {
  HF_HUB_OFFLINE: '1',
  HF_DATASETS_OFFLINE: '1',
  TQDM_DISABLE: '1',
  TOKENIZERS_PARALLELISM: 'false',
  LITELLM_LOCAL_MODEL_COST_MAP: 'true',
  WANDB_MODE: 'disabled',
  INSPECT_DISPLAY: 'plain',
  INSPECT_LOG_FORMAT: 'json',
  PYTHONDONTWRITEBYTECODE: '1',
  NO_COLOR: '1',
};

/** @returns what it wrote to its standard output; throws, with its last lines, when its exit code is not 0 or it takes too long */
export async function run(command: string, options: RunOptions): Promise<string> {
  const { cwd, venv, env = {}, title, timeoutMs = 300_000, tell = say } = options;
  const startedAt = performance.now();
  const child = spawn('bash', ['-c', command], {
    cwd,
    detached: true,
    env: {
      ...process.env,
      ...QUIET,
      HF_HOME: cwd,
      XDG_DATA_HOME: cwd,
      PATH: `${join(venv, 'bin')}:${process.env.PATH}`,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { out: '', all: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said.out += text;
    said.all += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said.all += text;
  });
  const late = setTimeout(() => kill(child), timeoutMs);
  const leave = () => kill(child);
  process.once('exit', leave);
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  clearTimeout(late);
  process.off('exit', leave);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  tell(`${title ?? command.split(' ').slice(0, 3).join(' ')}: ${code === 0 ? 'done' : 'FAILED'} after ${seconds} s`);
  if (code === 0) return said.out;
  const lines = said.all.trimEnd().split('\n').slice(-LAST_LINES).join('\n');
  throw new Error(`${command}\nended with ${code ?? `${signal} after ${seconds} s`}; its last lines:\n${lines}`);
}

export const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** With all that it started. */
function kill({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}
