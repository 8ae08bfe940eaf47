// An evaluation over many steps on few slots: how often each step is loaded and how long the whole takes, by who orders the requests. A real gateway
// over real sockets in front of simulated engines; every way does the same requests, in turn, and again in the next round. Read the ratios.
// node bench/sweep/run.ts [--steps N] [--requests N] [--engines N] [--load-ms N] [--rounds N] [--json FILE]
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pino from 'pino';
import { stringify } from 'yaml';
import { AdminClient } from '../../src/cli/admin-client.ts';
import type { Work } from '../../src/cli/sweep/agenda.ts';
import { Announcement } from '../../src/cli/sweep/announcement.ts';
import { Results, type StepSum } from '../../src/cli/sweep/results.ts';
import { Run } from '../../src/cli/sweep/run.ts';
import { Sender } from '../../src/cli/sweep/send.ts';
import { type Terminal, table } from '../../src/cli/terminal.ts';
import { parseConfig } from '../../src/config.ts';
import { start } from '../../src/serve.ts';
import { type Sim, startSim } from '../../src/sim/sim.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '20' },
    requests: { type: 'string', default: '60' },
    engines: { type: 'string', default: '1' },
    'load-ms': { type: 'string', default: '400' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'string' },
  },
});
const [STEPS, REQUESTS, ENGINES, LOAD_MS, ROUNDS] = (
  ['steps', 'requests', 'engines', 'load-ms', 'rounds'] as const
).map((name) => Number(values[name])) as [number, number, number, number, number];
const CONCURRENCY = 64;
const MODEL = 'my-model';

/** `abreast`: steps side by side; more than there are slots: as evaluations that know nothing of each other. */
const WAYS = {
  'stepgate sweep': { announced: true, abreast: ENGINES },
  'the same, not announced': { announced: false, abreast: ENGINES },
  'eight steps at once': { announced: false, abreast: 8 },
  'as many requests of the base': { announced: false, abreast: ENGINES },
} as const;
/** Needs no loads. */
const BASE = 'as many requests of the base';
type Way = (typeof WAYS)[keyof typeof WAYS];

interface Figures {
  readonly loadsPerStep: number;
  readonly seconds: number;
}

const quiet: Terminal = {
  key: undefined,
  width: 80,
  interactive: false,
  colour: false,
  out: () => {},
  err: (text) => console.error(text),
  show: () => {},
  stopped: () => new Promise(() => {}),
};

async function measure(way: Way): Promise<Figures> {
  const home = await mkdtemp(join(tmpdir(), 'stepgate-bench-'));
  const engine = { maxLoras: 2, loadMs: LOAD_MS, firstTokenMs: 20, tokenMs: 4, answerTokens: 24 };
  const sims = await Promise.all(Array.from({ length: ENGINES }, () => startSim(engine)));
  const config = {
    listen: '127.0.0.1:0',
    admin: '127.0.0.1:0',
    data: join(home, 'data'),
    backends: sims.map(({ url }, index) => ({ name: `gpu-${index}`, url })),
    models: { [MODEL]: { watch: join(home, 'runs'), latest: 'published' } },
    discovery: { rescanMs: 200, settleMs: 50 },
  };
  for (let step = 1; step <= STEPS; step++) await writeCheckpoint({ dir: join(home, 'runs'), step });
  const running = await start(parseConfig(stringify(config), { file: undefined }), { log: pino({ level: 'silent' }) });
  try {
    const { catalog } = running.gateway.registry;
    while (catalog.servable().length < STEPS) await new Promise((resolve) => setTimeout(resolve, 20));
    const base = way === WAYS[BASE] ? catalog.bases[0]?.name : undefined;
    const before = loadsOf(sims);
    const startedAt = performance.now();
    await run(running, { ...way, base, home });
    const seconds = (performance.now() - startedAt) / 1000;
    return { loadsPerStep: (loadsOf(sims) - before) / STEPS, seconds };
  } finally {
    await running.close({ now: true });
    for (const sim of sims) await sim.close();
    await rm(home, { recursive: true, force: true });
  }
}

const loadsOf = (sims: readonly Sim[]): number => sims.reduce((sum, sim) => sum + sim.stats().loads, 0);

async function run(
  { url, adminUrl }: { url: string; adminUrl: string },
  { announced, abreast, base, home }: Way & { base: string | undefined; home: string },
): Promise<void> {
  const requests = Array.from({ length: REQUESTS }, (_, index) => ({
    customId: `line-${index}`,
    path: '/v1/chat/completions',
    body: { messages: [{ role: 'user', content: `question ${index}` }], max_tokens: 24 },
  }));
  const work: Work[] = Array.from({ length: STEPS }, (_, index) => ({
    step: index + 1,
    name: base ?? `${MODEL}@${index + 1}`,
    requests,
  }));
  const sums = new Map<number, StepSum>(
    work.map(({ step, name }) => [step, { checkpoint: name, ok: 0, failed: 0, tokens: 0, seconds: 0 }]),
  );
  const file = { file: 'bench', digest: '', requests };
  const results = new Results(join(home, 'answers'), { model: MODEL, requests: file, again: false });
  results.prepare(sums);
  const announcement = new Announcement(await AdminClient.of({ admin: adminUrl }, quiet), quiet, {
    model: MODEL,
    owner: 'bench',
  });
  if (announced) await announcement.make(work.map(({ step }) => ({ step, left: REQUESTS })));
  const sender = new Sender({ url, key: undefined, connections: CONCURRENCY });
  const watcher = { answered: () => {}, troubled: (why: string) => console.error(why), recovered: () => {} };
  const common = { work, sums, results, sender, watcher, abreast, concurrency: CONCURRENCY, patienceMs: 60_000 };
  const stopped = await new Run({
    ...common,
    stop: new AbortController().signal,
    sweepId: () => announcement.id,
  }).carryOut();
  await sender.close();
  const failed = [...sums.values()].some(({ ok }) => ok !== REQUESTS);
  if (stopped !== undefined || failed) throw new Error(`not everything was answered: ${stopped ?? 'see the answers'}`);
}

const median = (numbers: readonly number[]): number => {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
};

const rounds: Record<string, Figures>[] = [];
for (let round = 0; round < ROUNDS; round++) {
  const figures: Record<string, Figures> = {};
  for (const [name, way] of Object.entries(WAYS)) figures[name] = await measure(way);
  rounds.push(figures);
}
const names = Object.keys(WAYS);
const of = (name: string, field: keyof Figures) => median(rounds.map((round) => round[name]?.[field] ?? Number.NaN));
// An engine decodes nothing while it loads, as vLLM does: what the requests take, and each step loaded once, is the least there is.
const bound = of(BASE, 'seconds') + (STEPS * LOAD_MS) / 1000 / ENGINES;
console.log(
  `${STEPS} steps x ${REQUESTS} requests, ${CONCURRENCY} at once, ${ENGINES} engine(s) with 2 slots, a load takes ${LOAD_MS} ms; medians of ${ROUNDS}\n`,
);
console.log(
  table(
    ['', 'LOADS PER STEP', 'SECONDS', 'OVER BOUND'],
    names.map((name) => [
      name,
      of(name, 'loadsPerStep').toFixed(2),
      of(name, 'seconds').toFixed(1),
      `${(of(name, 'seconds') / bound).toFixed(2)} x`,
    ]),
    100,
  ),
);
if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(rounds, null, 2)}\n`);
