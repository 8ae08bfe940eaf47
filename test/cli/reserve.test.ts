// `stepgate reserve` against a real gateway in a process of its own.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startSim } from '../../src/sim/sim.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { begin, type Run, run } from './run.ts';

let home: string;
let sim: Awaited<ReturnType<typeof startSim>>;
let gateway: Run;
let admin: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'stepgate-cli-'));
  sim = await startSim({ port: 0, maxLoras: 4, loadMs: 1, firstTokenMs: 1, tokenMs: 1 });
  const file = join(home, 'gate.yaml');
  await writeFile(
    file,
    `listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ndata: data\nbackends: [{ name: gpu-0, url: "${sim.url}" }]\nmodels: { my-model: { latest: published } }\n`,
  );
  gateway = begin(['serve', '--config', file]);
  [, admin = ''] = await gateway.says(/admin +(\S+)/);
  await writeCheckpoint({ dir: home, step: 5 });
  await at('register', 'my-model@5', join(home, 'checkpoint-5'));
});

afterAll(async () => {
  gateway.process.kill('SIGKILL');
  await gateway.ended;
  await sim.close();
  await rm(home, { recursive: true, force: true });
});

const at = (...args: string[]) => run([...args, '--admin', admin]);

test('reserve, and list in 80 columns', async () => {
  const made = await at('reserve', 'my-model@5', '--for', '2h', '--owner', 'nightly');
  const id = /\(reservation (\w+)\)/.exec(made.out)?.[1] ?? expect.fail(made.out + made.err);
  expect(made.out).toMatch(/^reserved 1 slot for my-model@5 on gpu-0, 120 min more/);
  const latest = await at('reserve', '--latest', 'my-model', '--owner', 'trainer');
  expect(latest.out).toMatch(/^reserved 2 slots for latest my-model on gpu-0, until it is removed/);

  const { out } = await at('reserve');
  expect(out).toMatch(new RegExp(`^${id} +my-model@5 +1/1 +nightly +1(19|20) min more$`, 'm'));
  expect(out).toMatch(/^\w+ +latest my-model +2\/2 +trainer +until it is removed$/m);
  expect(Math.max(...out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
});

test('remove, and what is too much', async () => {
  const [one] = JSON.parse((await at('reserve', '--json')).out).data;
  const refused = await at('reserve', '--class', 'interactive', '--slots', '1');
  expect([refused.code, refused.err]).toEqual([1, expect.stringContaining(`1 for my-model@5 (${one.id}, nightly)`)]);
  expect((await at('reserve', '--remove', one.id)).out).toBe(`removed reservation ${one.id}\n`);
  expect((await at('reserve', '--class', 'interactive', '--slots', '1')).code).toBe(0);
});

test.each([
  [['my-model@5', '--model', 'my-model'], 2, 'give one of'],
  [['--slots', '2'], 2, 'what the slots are for'],
  [['--model', 'my-model', '--slots', 'two'], 2, 'Give a whole number from 1 to'],
  [['my-model@5', '--for', 'long'], 2, '90s'],
  [['my-model@6'], 1, 'nearest: my-model@5'],
  [['--model', 'nothing'], 1, '(model_not_found)'],
  [['--class', 'batch'], 2, 'interactive, rollout, eval'],
  [['--remove', 'nothing'], 1, '"stepgate reserve" lists them'],
])('reserve %j ends with %i and says what to do', async (args, code, words) => {
  const ended = await at('reserve', ...args);
  expect([ended.code, ended.err]).toEqual([code, expect.stringContaining(words)]);
});
