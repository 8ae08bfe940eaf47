// The gateway's cost on one core, against nginx on the same core and against the engine called directly.
// Interleaved rounds and medians, since machines drift; the ratios are the result, the rates belong to the machine.
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { answers, cpuUs, freePort, startOn, stop } from './processes.ts';

const { values: flags } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, json: { type: 'string' } },
});
const [ROUNDS, SECONDS, CONNECTIONS] = flags.quick ? [3, 2, 32] : [7, 5, 32];
const run = promisify(execFile);
/** Core 0 carries the load tool and the engine, core 1 the one that is measured. */
const [LOAD_CORE, MEASURED_CORE] = [0, 1];
const MODEL = 'my-model@5';
const file = (name: string): string => new URL(name, import.meta.url).pathname;

interface Contender {
  readonly name: string;
  readonly port: number;
  /** Of the process to measure; undefined for the engine itself. */
  readonly pid: number | undefined;
}

interface Round {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly failures: number;
  /** CPU time of the one in the middle per request. */
  readonly cpuUsPerRequest: number;
}

async function round({ port, pid }: Contender, streamed: boolean): Promise<Round> {
  const before = pid === undefined ? 0 : cpuUs(pid);
  const wrk = ['wrk', '-t1', `-c${CONNECTIONS}`, `-d${SECONDS}`, '-s', file('load.lua'), `http://127.0.0.1:${port}`];
  const asked = [`MODEL=${MODEL}`, `STREAM=${streamed ? 1 : 0}`];
  const { stdout } = await run('taskset', ['-c', String(LOAD_CORE), 'env', ...asked, ...wrk]);
  const spent = (pid === undefined ? 0 : cpuUs(pid)) - before;
  const { requests, seconds, ...rest } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  return { ...rest, perSecond: requests / seconds, cpuUsPerRequest: spent / requests };
}

const nginxConfig = (dir: string, engine: number, port: number): string => `
daemon off; worker_processes 1; pid ${dir}/nginx.pid; error_log ${dir}/nginx.log;
events { worker_connections 1024; }
http {
  access_log off; client_body_buffer_size 1m; client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy;
  upstream engine { server 127.0.0.1:${engine}; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port}; keepalive_requests 1000000000;
    location / { proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }
  }
}`;

const gatewayConfig = (dir: string, engine: number, ports: { listen: number; admin: number }): string => `
listen: 127.0.0.1:${ports.listen}
admin: 127.0.0.1:${ports.admin}
data: ${dir}/data
backends: [{ name: gpu-0, url: "http://127.0.0.1:${engine}" }]
models: { my-model: { base: base, watch: ${dir}/run } }
`;

const has = (program: string): boolean => {
  try {
    return execFileSync('which', [program], { encoding: 'utf8' }) !== '';
  } catch {
    return false;
  }
};

async function contenders(dir: string): Promise<{ all: Contender[]; close(): Promise<void> }> {
  const [engine, nginx, listen, admin] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const children = [startOn(LOAD_CORE, [process.execPath, file('engine.ts'), String(engine)])];
  await answers(`http://127.0.0.1:${engine}/v1/models`, undefined);
  const all: Contender[] = [{ name: 'direct', port: engine, pid: undefined }];
  if (has('nginx')) {
    writeFileSync(join(dir, 'nginx.conf'), nginxConfig(dir, engine, nginx));
    const child = startOn(MEASURED_CORE, ['nginx', '-e', join(dir, 'nginx.log'), '-c', join(dir, 'nginx.conf')]);
    children.push(child);
    all.push({ name: 'nginx', port: nginx, pid: child.pid });
  } else console.log('nginx is not here; to compare with it: apt-get install nginx-light');
  await writeCheckpoint({ dir: join(dir, 'run'), step: 5, base: 'base' });
  writeFileSync(join(dir, 'stepgate.yaml'), gatewayConfig(dir, engine, { listen, admin }));
  const serve = [file('../../bin/stepgate.js'), 'serve', '--log-level', 'warn', '--config', join(dir, 'stepgate.yaml')];
  const child = startOn(MEASURED_CORE, [process.execPath, ...serve]);
  children.push(child);
  all.push({ name: 'stepgate', port: listen, pid: child.pid });
  const body = JSON.stringify({ model: MODEL, messages: [] });
  for (const { port } of all) await answers(`http://127.0.0.1:${port}/v1/chat/completions`, body);
  return {
    all,
    close: async () => {
      await Promise.all(children.map(stop));
    },
  };
}

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN;

function summary(rounds: readonly Round[]): Round {
  const of = (key: keyof Round): number => median(rounds.map((one) => one[key]));
  const failures = rounds.reduce((sum, one) => sum + one.failures, 0);
  return {
    perSecond: of('perSecond'),
    p50Ms: of('p50Ms'),
    p99Ms: of('p99Ms'),
    failures,
    cpuUsPerRequest: of('cpuUsPerRequest'),
  };
}

async function measure(all: readonly Contender[], streamed: boolean): Promise<Record<string, Round>> {
  const rounds = new Map<string, Round[]>(all.map(({ name }) => [name, []]));
  // The first round warms caches and compilers, and is thrown away.
  for (let i = 0; i <= ROUNDS; i++)
    for (const contender of all) {
      const measured = await round(contender, streamed);
      if (i > 0) rounds.get(contender.name)?.push(measured);
    }
  return Object.fromEntries([...rounds].map(([name, list]) => [name, summary(list)]));
}

function show(title: string, results: Record<string, Round>): void {
  const { direct, nginx } = results;
  console.log(`\n${title}`);
  console.log('             req/s   of direct   of nginx   CPU us/req   x nginx   p50 ms   p99 ms   failures');
  for (const [name, one] of Object.entries(results)) {
    const of = (other: Round | undefined): string => (other ? (one.perSecond / other.perSecond).toFixed(2) : '-');
    const times = nginx && name !== 'direct' ? (one.cpuUsPerRequest / nginx.cpuUsPerRequest).toFixed(2) : '-';
    const cpu = name === 'direct' ? '-' : one.cpuUsPerRequest.toFixed(1);
    const cells = [
      one.perSecond.toFixed(0),
      of(direct),
      of(nginx),
      cpu,
      times,
      one.p50Ms.toFixed(2),
      one.p99Ms.toFixed(2),
      one.failures,
    ];
    const widths = [7, 12, 11, 13, 10, 9, 9, 11];
    console.log(name.padEnd(11) + cells.map((cell, i) => String(cell).padStart(widths[i] ?? 0)).join(''));
  }
}

for (const program of ['wrk', 'taskset']) {
  if (has(program)) continue;
  console.error(`${program} is needed: apt-get install ${program === 'wrk' ? 'wrk' : 'util-linux'}`);
  process.exit(1);
}
if (cpus().length < 2) {
  console.error('two cores are needed: one for the load and the engine, one for what is measured');
  process.exit(1);
}
const dir = mkdtempSync(join(tmpdir(), 'stepgate-bench-'));
const { all, close } = await contenders(dir);
try {
  const whole = await measure(all, false);
  show('1 KB JSON answers', whole);
  const streamed = await measure(all, true);
  show('64 events, one write each', streamed);
  if (flags.json !== undefined) {
    const setting = {
      rounds: ROUNDS,
      seconds: SECONDS,
      connections: CONNECTIONS,
      cpu: cpus()[0]?.model,
      node: process.version,
    };
    writeFileSync(flags.json, `${JSON.stringify({ setting, whole, streamed }, null, 2)}\n`);
  }
} finally {
  await close();
  rmSync(dir, { recursive: true, force: true });
}
