// The example loops run as a reader runs them, against a gateway in front of simulated engines: what they promise holds in both languages.
// Python needs OpenAI's package: that of `npm run test:harness`, or the machine's. Without either that half is skipped, and its title says so.
import { spawnSync } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { freePort } from '../../src/cli/serve.ts';
import { setUp } from '../gateway/harness.ts';
import { run } from '../harness/run.ts';

const EXAMPLE = { cwd: join(import.meta.dirname, '../../examples/pipelined-loop') };
const VENV = process.env.HARNESS_VENV ?? join(import.meta.dirname, '../../.harness/venv');
const RUN = { ...EXAMPLE, venv: VENV, title: 'pipelined-loop' };
const STEPS = 4;
const PYTHON_PATH = { PATH: `${join(VENV, 'bin')}:${process.env.PATH}` };
const hasPython = spawnSync('python3', ['-c', 'import openai'], { env: PYTHON_PATH }).status === 0;

async function loops(command: string): Promise<void> {
  const house = await setUp({ engines: [{}, {}], config: { models: { policy: { latest: 'ready' } } } });
  const { catalog } = house.running.gateway.registry;
  const kept = () => catalog.checkpoints('policy').filter(({ state }) => state.kind === 'servable');
  let most = 0;
  house.running.gateway.journal.listen(() => {
    most = Math.max(most, kept().length);
  });

  const lines = (await run(`${command} ${house.running.url}/v1 ${STEPS}`, RUN)).trimEnd().split('\n');
  expect(lines).toHaveLength(1 + STEPS + 1);
  for (const [at, line] of lines.slice(1, -1).entries()) {
    // It was trained on a batch of 16, each answered by the step before or by an older one.
    const spoke = [...line.matchAll(/@(\d+) x(\d+)/g)].map(([, step, times]) => [Number(step), Number(times)] as const);
    expect(
      spoke.reduce((sum, [, times]) => sum + times, 0),
      line,
    ).toBe(16);
    for (const [step] of spoke) expect(step, line).toBeLessThanOrEqual(at);
    // The step before it has sat an exam.
    expect(line).toMatch(new RegExp(`@${at} 0\\.\\d{3}`));
  }
  for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(80);
  const [, best] = /which is policy@(\d+)\.$/.exec(lines.at(-1) ?? '') ?? [];
  expect(kept().map(({ step }) => step)).toEqual([Number(best), STEPS]);
  expect(most).toBeLessThanOrEqual(3);
  expect(await house.ask('policy@1')).toMatchObject(best === '1' ? { status: 200 } : { status: 410 });
}

test(
  'in TypeScript: rollouts, exams and deletion beside the training; never more than three steps',
  () => loops(`'${process.execPath}' loop.ts`),
  60_000,
);

const PYTHON = 'in Python: the same';
test.skipIf(!hasPython)(
  hasPython ? PYTHON : `${PYTHON} (needs python3 and: pip install openai)`,
  () => loops('python3 loop.py'),
  60_000,
);

test('a loop that finds no gateway says what to do', async () => {
  // That it failed is what is wanted: nobody who reads the tests' output is to be alarmed by it.
  const told: string[] = [];
  const tell = (line: string) => void told.push(line);
  const said = run(`'${process.execPath}' loop.ts http://127.0.0.1:9/v1`, { ...RUN, tell });
  await expect(said).rejects.toThrow('Nothing answers at http://127.0.0.1:9/v1. Start a gateway, or let run.sh do it');
  expect(told).toEqual([expect.stringMatching(/^pipelined-loop: FAILED after /)]);
});

test('run.sh brings up engines and a gateway, runs what it is given, and leaves nothing behind', async () => {
  // Its neighbours are used too, so below those that the system hands out.
  const port = await freePort('127.0.0.1', 10_000 + (process.pid % 20_000));
  const models = await run("./run.sh bash -c 'curl -s $0/models'", { ...RUN, env: { PORT: `${port}` } });
  expect((JSON.parse(models) as { data: { id: string }[] }).data.map(({ id }) => id)).toEqual(['base']);
  for (const one of [port, port + 1, port + 20, port + 21]) expect(await answers(one), `port ${one}`).toBe(false);
}, 60_000);

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
