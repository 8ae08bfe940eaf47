// The demo's stage: two simulated engines and a gateway in this process, and a fresh directory for the trainer and the store.
// Sets up and clears away; what is played on it is in demo.ts.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { parseConfig } from '../../config.ts';
import { start } from '../../serve.ts';
import { startSim } from '../../sim/sim.ts';
import { createLog } from '../log.ts';
import { Failure } from '../terminal.ts';

export const MODEL = 'my-model';
const SLOTS = 2;
const LOG_LINES_MAX = 30;

export interface Stage {
  readonly url: string;
  readonly adminUrl: string;
  /** The trainer's output directory, which the gateway watches. */
  readonly runs: string;
  /** The last lines of the gateway's log, for when something fails. */
  logTail(): readonly string[];
  close(): Promise<void>;
}

/** @param ports 0 is any free port */
export async function setStage(ports: { listen: number; admin: number }): Promise<Stage> {
  const closing: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (const end of closing.splice(0).reverse()) await end();
  };
  try {
    const home = await mkdtemp(join(tmpdir(), 'stepgate-demo-'));
    closing.push(() => rm(home, { recursive: true, force: true }));
    const runs = join(home, 'runs', MODEL);
    await mkdir(runs, { recursive: true });

    const backends = [];
    for (const name of ['gpu-0', 'gpu-1']) {
      const sim = await startSim({ port: 0, maxLoras: SLOTS, loadMs: 400 });
      closing.push(() => sim.close());
      backends.push({ name, url: sim.url, slots: SLOTS });
    }

    const log: string[] = [];
    const out = (line: string) => {
      log.push(line);
      if (log.length > LOG_LINES_MAX) log.shift();
    };
    const config = parseConfig(
      stringify({
        listen: `127.0.0.1:${ports.listen}`,
        admin: `127.0.0.1:${ports.admin}`,
        data: join(home, 'data'),
        backends,
        models: { [MODEL]: { watch: runs } },
        discovery: { rescanMs: 500, settleMs: 300 },
        probe: { everyMs: 500 },
      }),
      { file: undefined },
    );
    const gateway = await start(config, { log: createLog({ level: 'info', readable: true, out }) });
    closing.push(() => gateway.close());
    return { url: gateway.url, adminUrl: gateway.adminUrl, runs, logTail: () => log, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Resolves when the gateway says that every engine is up. */
export async function enginesUp(adminUrl: string, withinMs: number): Promise<void> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const { data } = (await (await fetch(`${adminUrl}/admin/v1/backends`)).json()) as {
      data: { name: string; state: string }[];
    };
    const waiting = data.filter(({ state }) => state !== 'up').map(({ name }) => name);
    if (data.length > 0 && waiting.length === 0) return;
    if (performance.now() > deadline) throw new Failure(`the gateway does not see ${waiting.join(' and ')} come up`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
