// The gateway under test: a real process, started by the documented command with a config file, killed, stopped and started again on the same
// ports and data; what it holds is read from /proc. Linux only.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, writeFileSync } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { stringify } from 'yaml';
import { Inspector } from '../../bench/gateway/inspector.ts';
import { freePort } from '../../bench/gateway/processes.ts';
import { KEEP, MODELS } from './cast.ts';
import { BODY_BYTES_MAX } from './client.ts';

const COMMAND = join(import.meta.dirname, '../../bin/stepgate.js');
const START_MS_MAX = 30_000;
/** `deadlines.wholeMs`, and then some: a gateway that was asked to stop lets what runs end, and no more. */
const STOP_MS_MAX = 20_000;

export interface GatewayOptions {
  readonly home: string;
  readonly engines: readonly { readonly name: string; readonly url: string; readonly slots: number }[];
}

/** Deadlines are short, so that what hangs costs the run little, but long beside the pauses of a machine that is busy. */
const SETTINGS = {
  discovery: { rescanMs: 500, settleMs: 100 },
  limits: { bodyBytesMax: BODY_BYTES_MAX, waitMsMax: 15_000, queueMax: 5_000 },
  deadlines: { connectMs: 1_000, loadMs: 1_000, firstTokenMs: 2_500, betweenChunksMs: 2_000, wholeMs: 5_000 },
  scheduling: {
    drainAfterMs: { interactive: 40, rollout: 80, eval: 160 },
    batchMsMax: 100,
    failureMemoryMs: 200,
    latestWithinMs: 500,
    commentEveryMs: 100,
  },
  // Short, as all is here: storms end, and then everything must be answered.
  health: { ejectAfter: 5, ejectedMs: 200, quarantineMs: 100 },
  probe: { everyMs: 200, timeoutMs: 1_000 },
};
/** What a reload changes and nobody may notice. */
const OTHER_SETTINGS = {
  limits: { ...SETTINGS.limits, queueMax: 4_000 },
  probe: { everyMs: 300, timeoutMs: 1_000 },
  discovery: { rescanMs: 700, settleMs: 120 },
};
export const { scheduling: SCHEDULING } = SETTINGS;
export const MEMORY_OF_FAILURES_MS = SETTINGS.scheduling.failureMemoryMs;

interface Config {
  readonly backends: GatewayOptions['engines'];
  readonly [key: string]: unknown;
}

/** Open files of a process, by what they are. */
export interface Holdings {
  readonly sockets: number;
  readonly others: number;
}

export class GatewayProcess {
  readonly #home: string;
  readonly #file: string;
  #config: Config = { backends: [] };
  #child: ChildProcess | undefined;
  #inspectorPort = 0;
  #up: Promise<void> = Promise.resolve();
  readonly downs: { readonly from: number; until: number; readonly kind: 'killed' | 'stopped' }[] = [];
  readonly url: string;
  readonly adminUrl: string;

  /** For the run's own calls: a key that may do everything. */
  authorization: Readonly<Record<string, string>> = {};

  private constructor(home: string, ports: readonly [number, number]) {
    this.#home = home;
    this.#file = join(home, 'stepgate.yaml');
    this.url = `http://127.0.0.1:${ports[0]}`;
    this.adminUrl = `http://127.0.0.1:${ports[1]}`;
  }

  static async start({ home, engines }: GatewayOptions): Promise<GatewayProcess> {
    const ports = [await freePort(), await freePort()] as const;
    const gateway = new GatewayProcess(home, ports);
    gateway.#config = {
      listen: `127.0.0.1:${ports[0]}`,
      admin: `127.0.0.1:${ports[1]}`,
      data: 'data',
      backends: engines,
      models: Object.fromEntries(
        MODELS.map(({ model, comes, latest }) => [
          model,
          { latest, keep: { last: KEEP }, ...(comes === 'watched' && { watch: join('runs', model) }) },
        ]),
      ),
      ...SETTINGS,
    };
    await gateway.#launch();
    const body = JSON.stringify({ name: 'root', scopes: ['admin', 'publish', 'use'], models: ['*'] });
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`${gateway.adminUrl}/admin/v1/keys`, { method: 'POST', headers, body });
    gateway.authorization = { authorization: `Bearer ${((await answer.json()) as { key: string }).key}` };
    return gateway;
  }

  /** Resolves when it serves: at once, but around a kill or a stop. */
  get isUp(): Promise<void> {
    return this.#up;
  }

  get logFile(): string {
    return join(this.#home, 'gateway.log');
  }

  /** Writes another config, to be read by a reload. False, and nothing is written, while it is away: it always starts with the first one. */
  configure({
    what,
    without,
  }: {
    readonly what: 'same' | 'other' | 'without' | 'broken';
    without: string | undefined;
  }): boolean {
    if (this.#child === undefined) return false;
    const backends = this.#config.backends.filter(({ name }) => name !== without);
    const config = { ...this.#config, backends, ...(what === 'other' && OTHER_SETTINGS) };
    writeFileSync(this.#file, what === 'broken' ? 'limits: { queueMax: many }\n' : stringify(config));
    return true;
  }

  /** SIGHUP. */
  hangUp(): void {
    this.#child?.kill('SIGHUP');
  }

  /** As a crash. Resolves when it serves again. */
  kill(): Promise<void> {
    return this.#again('killed', async (child) => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    });
  }

  /** As an operator would. Resolves when it serves again. */
  restart(): Promise<void> {
    return this.#again('stopped', (child) => this.#stopped(child));
  }

  /** For good. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child !== undefined) await this.#stopped(child);
  }

  /** Whatever state it is in. */
  end(): void {
    const child = this.#child;
    this.#child = undefined;
    child?.kill('SIGKILL');
  }

  #again(kind: 'killed' | 'stopped', end: (child: ChildProcess) => Promise<void>): Promise<void> {
    const child = this.#child;
    if (child === undefined) return this.#up;
    this.#child = undefined;
    const down = { from: performance.now(), until: Number.POSITIVE_INFINITY, kind };
    this.downs.push(down);
    this.#up = (async () => {
      await end(child);
      await this.#launch();
      down.until = performance.now();
    })();
    return this.#up;
  }

  async #stopped(child: ChildProcess): Promise<void> {
    const exit = once(child, 'exit');
    let holders = '';
    child.kill('SIGTERM');
    const stubborn = globalThis.setTimeout(async () => {
      holders = await holdersOf(this.#inspectorPort).catch(String);
      child.kill('SIGKILL');
    }, STOP_MS_MAX);
    const [code, signal] = await exit;
    clearTimeout(stubborn);
    if (code !== 0) throw new Error(`the gateway was asked to stop and ended with ${signal ?? code}; ${holders}`);
  }

  async #launch(): Promise<void> {
    writeFileSync(this.#file, stringify(this.#config));
    const log = openSync(this.logFile, 'a');
    const args = ['--inspect=127.0.0.1:0', COMMAND, 'serve', '--config', this.#file, '--log-level', 'error'];
    const child = spawn(process.execPath, args, { stdio: ['ignore', log, 'pipe'], cwd: this.#home });
    let said = '';
    child.stderr?.on('data', (chunk) => {
      said += chunk;
    });
    const end = performance.now() + START_MS_MAX;
    while (!said.includes('stepgate serves at')) {
      if (child.exitCode !== null || performance.now() > end) {
        child.kill('SIGKILL');
        throw new Error(`the gateway did not start: ${said}`);
      }
      await setTimeout(10);
    }
    this.#inspectorPort = Number(/ws:\/\/127\.0\.0\.1:(\d+)\//.exec(said)?.[1]);
    child.once('exit', (code, signal) => {
      if (this.#child === child) this.onDeath(`the gateway ended by itself (${signal ?? code}): ${said.slice(-2000)}`);
    });
    this.#child = child;
  }

  onDeath: (about: string) => void = () => {};

  async holdings(): Promise<Holdings> {
    const dir = `/proc/${this.#child?.pid}/fd`;
    const links = await Promise.all((await readdir(dir)).map((fd) => readlink(join(dir, fd)).catch(() => '')));
    const open = links.filter((link) => link !== '');
    const sockets = open.filter((link) => link.startsWith('socket:')).length;
    return { sockets, others: open.length - sockets };
  }

  /** Of the heap, after a collection. */
  async heapBytes(): Promise<number> {
    const inspector = await Inspector.attach(this.#inspectorPort);
    try {
      return await inspector.heapBytes();
    } finally {
      inspector.close();
    }
  }

  async residentMb(): Promise<number> {
    const status = await readFile(`/proc/${this.#child?.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
  }

  /** While it is stopped. Rejects with what the doctor found. */
  async examine(): Promise<void> {
    await command(['doctor', '--config', this.#file, '--deep']);
  }
}

/** Resolves with what it printed. */
function command(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [COMMAND, ...args], (error, out, err) =>
      error === null ? resolve(out) : reject(new Error(`stepgate ${args[0]} failed: ${out}${err}`)),
    );
  });
}

/** What keeps a Node process alive, for the complaint: its handles, and what its timers would do. */
async function holdersOf(inspectorPort: number): Promise<string> {
  const inspector = await Inspector.attach(inspectorPort);
  try {
    const prototype = await inspector.ask<{ result: { objectId: string } }>('Runtime.evaluate', { expression: TIMER });
    const { objects } = await inspector.ask<{ objects: { objectId: string } }>('Runtime.queryObjects', {
      prototypeObjectId: prototype.result.objectId,
    });
    const asked = { objectId: objects.objectId, functionDeclaration: HOLDERS };
    const { result } = await inspector.ask<{ result: { value: string } }>('Runtime.callFunctionOn', asked);
    return result.value;
  } finally {
    inspector.close();
  }
}

const TIMER = 'const timer = setTimeout(() => {}); clearTimeout(timer); Object.getPrototypeOf(timer)';
const HOLDERS = `function () {
  const timers = this.filter((timer) => !timer._destroyed && timer.hasRef && timer.hasRef());
  return [process.getActiveResourcesInfo().join(), ...timers.map((timer) => timer._idleTimeout + ' ms: ' + timer._onTimeout)].join('; ');
}`;
