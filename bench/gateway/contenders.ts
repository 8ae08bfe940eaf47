// Who is measured: the engine itself, stepgate, its peers. Starts each on its core in front of the stand-in engine, and stops them.
import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fillRegistry } from '../registry/rows.ts';
import { PEERS, type Site } from './peers.ts';
import { answers, freePort, LOAD_CORE, MEASURED_CORE, start, stop } from './processes.ts';

export const MODEL = 'my-model@5';
/** Where the known steps begin. */
const FIRST_STEP = 5;
export const SLOTS = 4;

export interface Contender {
  readonly name: string;
  readonly version: string;
  readonly port: number;
  /** Of the process in the middle; undefined for the engine itself. */
  readonly pid: number | undefined;
  /** What its callers must send. */
  readonly headers: Readonly<Record<string, string>>;
  /** Of Node's inspector, where it was asked for. */
  readonly inspectorPort?: number;
}

export interface StepgateOptions {
  /** Checkpoints in its registry, from step 5 on. */
  readonly known: number;
  /** With Node's inspector listening. */
  readonly inspected?: boolean;
  /** What Node is told; left out: as the container image and the systemd unit tell it. */
  readonly node?: readonly string[];
}

const file = (name: string): string => new URL(name, import.meta.url).pathname;

const NODE_OPTIONS = ['--max-semi-space-size=8'];
/** From its sources, Node would keep 29 MB for stripping types. */
const BUILT_MAIN = file('../../dist/main.js');

export class Ring {
  readonly #children = new Map<string, ChildProcess>();
  readonly #dir: string;
  readonly #enginePort: number;

  private constructor(dir: string, enginePort: number) {
    this.#dir = dir;
    this.#enginePort = enginePort;
  }

  /** With the engine up and nobody in front of it. */
  static async open(): Promise<Ring> {
    execFileSync('npm', ['run', '--silent', 'build'], { cwd: file('../..'), stdio: ['ignore', 'inherit', 'inherit'] });
    const ring = new Ring(await mkdtemp(join(tmpdir(), 'stepgate-bench-')), await freePort());
    const command = [process.execPath, file('engine.ts'), String(ring.#enginePort)];
    const child = start({ core: LOAD_CORE, command, log: join(ring.#dir, 'engine.log') });
    ring.#children.set('engine', child);
    await answers({ url: `http://127.0.0.1:${ring.#enginePort}/v1/models` });
    return ring;
  }

  direct(): Contender {
    return { name: 'direct', version: '', port: this.#enginePort, pid: undefined, headers: {} };
  }

  async stepgate(name: string, { known, inspected, node: flags = NODE_OPTIONS }: StepgateOptions): Promise<Contender> {
    const site = await this.#site();
    await fillRegistry({ data: join(site.dir, 'data'), from: FIRST_STEP, count: known });
    const config = join(site.dir, 'stepgate.yaml');
    writeFileSync(config, configOf(site));
    const inspectorPort = inspected ? await freePort() : undefined;
    const node = [process.execPath, ...flags, ...(inspectorPort ? [`--inspect=127.0.0.1:${inspectorPort}`] : [])];
    const serve = [BUILT_MAIN, 'serve', '--log-level', 'warn', '--config', config];
    const { version } = JSON.parse(readFileSync(file('../../package.json'), 'utf8'));
    const contender = await this.#run({ name, version, site, command: [...node, ...serve] });
    return inspectorPort === undefined ? contender : { ...contender, inspectorPort };
  }

  async peer(name: string): Promise<Contender> {
    const peer = PEERS[name];
    if (peer === undefined)
      throw new Error(`--against knows ${['stepgate', 'direct', ...Object.keys(PEERS)].join(', ')}`);
    if (peer.missing() !== undefined && peer.install !== undefined) {
      console.error(`installing ${name} into bench/gateway/.peers`);
      peer.install();
    }
    const missing = peer.missing();
    if (missing !== undefined) throw new Error(missing);
    const site = await this.#site();
    return this.#run({ name, version: peer.version, site, ...peer.start(site) });
  }

  /** Ends one that is no longer needed. */
  async drop({ name }: Contender): Promise<void> {
    const child = this.#children.get(name);
    if (child !== undefined) await stop(child);
    this.#children.delete(name);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#children.values()].map(stop));
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #site(): Promise<Site> {
    const [port, sparePort] = [await freePort(), await freePort()];
    const dir = await mkdtemp(join(this.#dir, 'site-'));
    return { dir, port, sparePort, enginePort: this.#enginePort, model: MODEL };
  }

  async #run({ name, version, site, command, env, headers = {} }: Runnable): Promise<Contender> {
    const log = join(site.dir, 'log');
    const child = start({ core: MEASURED_CORE, command, log, ...(env && { env }) });
    this.#children.set(name, child);
    const body = JSON.stringify({ model: MODEL, messages: [{ role: 'user', content: 'Hello' }] });
    const up = answers({ url: `http://127.0.0.1:${site.port}/v1/chat/completions`, body, headers });
    const ended = once(child, 'exit').then(() => Promise.reject(new Error('it ended')));
    await Promise.race([up, ended]).catch((error: unknown) => {
      throw new Error(`${name} did not start: ${String(error)}\n${readFileSync(log, 'utf8').slice(-2000)}`);
    });
    return { name, version, port: site.port, pid: child.pid, headers };
  }
}

interface Runnable {
  readonly name: string;
  readonly version: string;
  readonly site: Site;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
}

const configOf = ({ dir, enginePort, port, sparePort }: Site): string => `
listen: 127.0.0.1:${port}
admin: 127.0.0.1:${sparePort}
data: ${dir}/data
backends: [{ name: gpu-0, url: "http://127.0.0.1:${enginePort}", slots: ${SLOTS}, runningMax: 4096 }]
models: { my-model: { base: base, latest: published } }
`;
