// The commands for names that move, pins and retention, against a real gateway in a process of its own.
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
  sim = await startSim({ port: 0, maxLoras: 2, loadMs: 1, firstTokenMs: 1, tokenMs: 1 });
  const file = join(home, 'gate.yaml');
  await writeFile(
    file,
    `listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ndata: data\nbackends: [{ name: gpu-0, url: "${sim.url}", slots: 2 }]\nmodels: { my-model: { latest: published, best: { metric: judge, direction: max } } }\n`,
  );
  gateway = begin(['serve', '--config', file]);
  [, admin = ''] = await gateway.says(/admin +(\S+)/);
  for (const step of [5, 10]) {
    await writeCheckpoint({ dir: home, step });
    await at('register', `my-model@${step}`, join(home, `checkpoint-${step}`));
  }
});

afterAll(async () => {
  gateway.process.kill('SIGKILL');
  await gateway.ended;
  await sim.close();
  await rm(home, { recursive: true, force: true });
});

const at = (...args: string[]) => run([...args, '--admin', admin]);

test('alias: set, compare-and-set, list with its history, remove', async () => {
  const set = await at('alias', 'my-model', 'champion', '5', '--by', 'ann');
  expect([set.code, set.out]).toEqual([0, 'my-model@champion is my-model@5\n']);
  const stale = await at('alias', 'my-model', 'champion', '10', '--expect', 'none');
  expect([stale.code, stale.err]).toEqual([1, expect.stringContaining('points to step 5 (moved by ann)')]);
  expect((await at('alias', 'my-model', 'champion', '10', '--expect', '5', '--by', 'bob')).code).toBe(0);

  const { out } = await at('alias', 'my-model');
  expect(out).toMatch(/^@latest +10 +- +\(by itself\)$/m);
  expect(out).toMatch(/^@champion +10 +\d+ s ago +bob$/m);
  expect(out).toMatch(/^\d+ s ago +@champion +5 +10 +bob\n\d+ s ago +@champion +- +5 +ann$/m);
  const one = (await at('alias', 'my-model', 'champion', '--history', '1')).out;
  expect(one).toMatch(/^NAME .*\n@champion .*\n\nMOVED .*\n.* @champion +5 +10 +bob\n$/);
  const json = JSON.parse((await at('alias', 'my-model', '--json')).out);
  expect(json).toMatchObject({ data: [{ alias: 'champion', step: 10 }], history: [{ from: 5, to: 10 }, {}, {}, {}] });

  expect((await at('alias', 'my-model', 'champion', '--remove')).out).toBe('removed my-model@champion\n');
  expect((await at('alias', 'my-model', 'champion', '--remove')).code).toBe(1);
});

test('pin: make, list, refuse a deletion, remove', async () => {
  expect((await at('pin')).out).toContain('no pins');
  const made = await at('pin', 'my-model@5..8', '--for', '2h', '--owner', 'nightly');
  const id = /\(pin (\w+)\)/.exec(made.out)?.[1] ?? expect.fail(made.out + made.err);
  expect(made.out).toMatch(/^pinned my-model@5\.\.8 for nightly, 120 min more/);
  expect((await at('pin')).out).toMatch(new RegExp(`^${id} +my-model@5\\.\\.8 +nightly +1(19|20) min more$`, 'm'));
  const refused = await at('rm', 'my-model@5');
  expect([refused.code, refused.err]).toEqual([1, expect.stringContaining(`stepgate pin --remove ${id}`)]);
  expect((await at('pin', '--remove', id)).out).toBe(`removed pin ${id}\n`);
  expect(JSON.parse((await at('pin', '--json')).out)).toEqual({ data: [] });
});

test('a second gateway on the same data is told so, not taken for a failure of the program', async () => {
  const { code, err } = await run(['serve', '--config', join(home, 'gate.yaml')]);
  expect(code).toBe(1);
  expect(err).toMatch(/^\S+registry\.sqlite is in use: another stepgate runs on this `data` directory\./);
});

test('retain says why each stays', async () => {
  const { code, out } = await at('retain', 'my-model', '--dry-run');
  expect([code, out]).toEqual([0, expect.stringMatching(/^my-model@5 +stays +no rule: .*\n[\s\S]*0 of 2 would go$/m)]);
});

test.each([
  [['alias', 'my-model', 'champion', '5', '--remove'], 2, 'not both'],
  [['alias', 'my-model', 'champion', '--expect', '5'], 2, '--expect'],
  [['alias', 'my-model', '--remove'], 2, 'ALIAS'],
  [['alias', 'my-model', 'champion', 'five'], 2, 'no step'],
  [['alias', 'my-model', 'latest', '5'], 1, 'moves by itself'],
  [['alias', 'nothing'], 1, '(model_not_found)'],
  [['pin', 'my-model'], 2, 'my-model@5..40'],
  [['pin', 'my-model@5', '--for', 'long'], 2, '90s'],
  [['pin', 'my-model@5..', '--for', '1h'], 2, 'my-model@5..40'],
  [['pin', 'my-model@9..5'], 1, '(invalid_request)'],
  [['retain'], 2, 'model'],
])('%j ends with %i and says what to do', async (args, code, words) => {
  const ended = await at(...args);
  expect([ended.code, ended.err]).toEqual([code, expect.stringContaining(words)]);
});
