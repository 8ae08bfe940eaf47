// Starts what the bench measures, each pinned to a core, waits until it answers, and counts the CPU time of its whole tree.
// Linux only: it reads /proc and uses taskset.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout } from 'node:timers/promises';

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

export function startOn(core: number, command: readonly string[]): ChildProcess {
  const child = spawn('taskset', ['-c', String(core), ...command], { stdio: ['ignore', 'ignore', 'inherit'] });
  process.once('exit', () => child.kill());
  return child;
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill();
  await once(child, 'exit');
}

/** Ends when a request is answered 200; rejects with what it last heard after `withinMs`. */
export async function answers(url: string, body: string | undefined, withinMs = 30_000): Promise<void> {
  const until = performance.now() + withinMs;
  for (;;) {
    const init = body === undefined ? {} : { method: 'POST', headers: { 'content-type': 'application/json' }, body };
    const heard = await fetch(url, init).then(
      async (answer) => (answer.ok ? undefined : `${answer.status} ${await answer.text()}`),
      (error: unknown) => String(error),
    );
    if (heard === undefined) return;
    if (performance.now() > until) throw new Error(`${url} does not answer: ${heard}`);
    await setTimeout(100);
  }
}

/** CPU time of a process and its children so far, user and system, in us. */
export function cpuUs(pid: number): number {
  const parents = new Map<number, { parent: number; us: number }>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      // After the command's name, which may hold anything: state, parent, ..., utime (12th from here), stime.
      const fields = readFileSync(`/proc/${entry}/stat`, 'latin1')
        .replace(/^.*\) /s, '')
        .split(' ');
      const us = ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1e6;
      parents.set(Number(entry), { parent: Number(fields[1]), us });
    } catch {
      // It ended while we looked.
    }
  }
  const ours = (id: number): boolean => id === pid || (parents.has(id) && ours(parents.get(id)?.parent ?? 0));
  let total = 0;
  for (const [id, { us }] of parents) if (ours(id)) total += us;
  return total;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return address.port;
}
