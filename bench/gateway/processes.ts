// Starts what the bench measures, each pinned to a core, waits until it answers, and reads the cost of its whole tree from /proc.
// Linux only. It must not know what it starts: that is contenders.ts.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout } from 'node:timers/promises';

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** Core 0 carries the load tool and the engine, core 1 the one that is measured. */
export const [LOAD_CORE, MEASURED_CORE] = [0, 1];

/** Ended with the bench, however it ends. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill();
});

export interface Start {
  readonly core: number;
  readonly command: readonly string[];
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** A file for what it prints. */
  readonly log: string;
}

export function start({ core, command, env, log }: Start): ChildProcess {
  const out = openSync(log, 'a');
  const child = spawn('taskset', ['-c', String(core), ...command], {
    stdio: ['ignore', out, out],
    ...(env && { env: { ...process.env, ...env } }),
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill();
  const stubborn = globalThis.setTimeout(() => child.kill('SIGKILL'), 5000);
  await once(child, 'exit');
  clearTimeout(stubborn);
}

export interface Question {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON; a GET without it. */
  readonly body?: string;
  readonly withinMs?: number;
}

/** Ends when the question is answered 200; rejects with what it last heard. */
export async function answers({ url, headers, body, withinMs = 90_000 }: Question): Promise<void> {
  const until = performance.now() + withinMs;
  const post = { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: body ?? '' };
  for (;;) {
    const heard = await fetch(url, body === undefined ? {} : post).then(
      async (answer) => (answer.ok ? void (await answer.arrayBuffer()) : `${answer.status} ${await answer.text()}`),
      (error: unknown) => String(error),
    );
    if (heard === undefined) return;
    if (performance.now() > until) throw new Error(`${url} does not answer: ${heard}`);
    await setTimeout(100);
  }
}

/** What a process and its children have cost so far. */
export interface Cost {
  /** User and system time; a tick of the kernel is 10,000. */
  readonly cpuUs: number;
  /** Resident memory now; pages that processes share are counted for each. */
  readonly rssMb: number;
}

/** `undefined` stands for nothing in the middle. */
export function costOf(pid: number | undefined): Cost {
  if (pid === undefined) return { cpuUs: 0, rssMb: 0 };
  const all = new Map<number, { parent: number; cpuUs: number; rssMb: number }>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      // After the command's name, which may hold anything: state, parent, ..., utime (12th from here), stime; rss in pages (22nd).
      const fields = readFileSync(`/proc/${entry}/stat`, 'latin1')
        .replace(/^.*\) /s, '')
        .split(' ')
        .map(Number);
      const [parent = 0, user = 0, system = 0, pages = 0] = [fields[1], fields[11], fields[12], fields[21]];
      all.set(Number(entry), {
        parent,
        cpuUs: ((user + system) / TICKS_PER_SECOND) * 1e6,
        rssMb: (pages * 4096) / 1e6,
      });
    } catch {
      // It ended while we looked.
    }
  }
  const ours = (id: number): boolean => id === pid || (all.has(id) && ours(all.get(id)?.parent ?? 0));
  const tree = [...all].filter(([id]) => ours(id)).map(([, one]) => one);
  return { cpuUs: tree.reduce((sum, one) => sum + one.cpuUs, 0), rssMb: tree.reduce((sum, one) => sum + one.rssMb, 0) };
}

/**
 * CPU time of all processes on the measured core so far, us. Without interrupts: the kernel may count those of a process's own
 * packets to nobody.
 */
export function coreUs(): number {
  const line = new RegExp(`^cpu${MEASURED_CORE} (.*)$`, 'm').exec(readFileSync('/proc/stat', 'latin1'))?.[1] ?? '';
  const [user = 0, nice = 0, system = 0] = line.split(' ').map(Number);
  return ((user + nice + system) / TICKS_PER_SECOND) * 1e6;
}

/** Ends when the process no longer works off what it was asked before, or after five seconds. */
export async function quiet(pid: number | undefined): Promise<void> {
  for (let i = 0; i < 25; i++) {
    const before = costOf(pid).cpuUs;
    await setTimeout(200);
    if (costOf(pid).cpuUs - before <= 20_000) return;
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return address.port;
}
