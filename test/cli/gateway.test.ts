// The commands that talk to a gateway, against a real one: `stepgate serve` in a process of its own, in front of a simulated engine.
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
let url: string;
let admin: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'stepgate-cli-'));
  sim = await startSim({ port: 0, maxLoras: 2, loadMs: 1, firstTokenMs: 1, tokenMs: 1 });
  const file = join(home, 'gate.yaml');
  await writeFile(
    file,
    `listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ndata: data\nbackends: [{ name: gpu-0, url: "${sim.url}", slots: 2 }]\n`,
  );
  gateway = begin(['serve', '--config', file]);
  [, url = ''] = await gateway.says(/serves at (\S+)\/v1/);
  [, admin = ''] = await gateway.says(/admin +(\S+)/);
});

afterAll(async () => {
  gateway.process.kill('SIGKILL');
  await gateway.ended;
  await sim.close();
  await rm(home, { recursive: true, force: true });
});

const at = (...args: string[]) => run([...args, '--admin', admin]);

test('ps shows the engine; ls says how to get a first model', async () => {
  expect((await at('ps')).out).toMatch(/^gpu-0 +up +0\/2 +0 +vllm +config +http:/m);
  const empty = await at('ls');
  expect([empty.code, empty.out]).toEqual([0, expect.stringContaining('stepgate register')]);
});

test('register says what it needs: a path or --hosted, and a backend that would serve what a service has', async () => {
  for (const args of [[], ['runs/x', '--hosted']])
    expect(await at('register', 'my-model@80', ...args)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/\(FROM\).*--hosted.*not both/),
    });
  expect(await at('register', 'my-model@80', '--hosted')).toMatchObject({
    code: 1,
    err: expect.stringMatching(/no backend of the config has my-model under its `models`/),
  });
});

test('register, ask, ls, ps, rm', async () => {
  await writeCheckpoint({ dir: home, step: 5 });
  const registered = await at('register', 'my-model@5', join(home, 'checkpoint-5'));
  expect(registered).toMatchObject({
    code: 0,
    err: '',
    out: expect.stringMatching(/^registered my-model@5 \(.*rank \d+\)/),
  });

  const answer = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'my-model@5', prompt: 'hi', max_tokens: 2 }),
  });
  expect(await answer.json()).toMatchObject({ model: 'my-model@5' });

  expect((await at('ls')).out).toMatch(/^my-model +1 +1 /m);
  const listed = await at('ls', 'my-model');
  expect(listed).toMatchObject({ code: 0, err: '' });
  expect(listed.out).toMatch(/^my-model@5 .* yes .* gpu-0 +latest best$/m);
  expect((await at('ls', 'my-model', '--filter', 'eval_loss<0')).out).toBe('no such checkpoints\n');
  expect((await at('ps')).out).toMatch(/^ {2}my-model@5 +ready +0$/m);
  expect(JSON.parse((await at('ps', '--json')).out)).toMatchObject({ data: [{ name: 'gpu-0', state: 'up' }] });

  expect(await at('rm', 'my-model@5')).toMatchObject({ code: 0, out: 'deleted my-model@5\n' });
  const again = await at('rm', 'my-model@5000');
  expect([again.code, again.out, again.err.trimEnd().split('\n').length]).toEqual([1, '', 1]);
});

test('what cannot be registered is refused with the reason', async () => {
  const { code, err } = await at('register', 'my-model@6', join(home, 'nowhere'));
  expect(code).toBe(1);
  expect(err.trimEnd().split('\n')).toHaveLength(1);
  expect(err).toContain('(checkpoint_invalid)');

  await writeCheckpoint({ dir: home, step: 7, flaw: 'dora' });
  const dora = await at('register', 'my-model@7', join(home, 'checkpoint-7'));
  expect(dora.code).toBe(1);
  expect(dora.err).toMatch(/dora/i);
});

test('ls pages, newest first, and says how to go on', async () => {
  for (const step of [11, 12, 13]) {
    await writeCheckpoint({ dir: home, step });
    await at('register', `paged@${step}`, join(home, `checkpoint-${step}`));
  }
  const first = await at('ls', 'paged', '--limit', '2');
  expect(first.out.match(/paged@\d+/g)).toEqual(['paged@13', 'paged@12']);
  expect(first.err).toBe('2 of 3; the next ones: --after paged@12, or more at once: --limit 3\n');
  expect((await at('ls', 'paged', '--limit', '2', '--after', 'paged@12')).out.match(/paged@\d+/g)).toEqual([
    'paged@11',
  ]);
  expect((await at('ls', 'paged', '--sort', 'eval_los')).err).toMatch(
    /^none of these has a metric "eval_los"; there are .*eval_loss/,
  );
  expect((await at('ls', 'paged', '--sort', 'eval_loss', '--metric', 'loss')).err).toBe('');
  const json = JSON.parse((await at('ls', 'paged', '--json', '--sort', 'eval_loss')).out);
  expect(json).toMatchObject({ total: 3, hasMore: false, data: [{ step: 13 }, { step: 12 }, { step: 11 }] });
  expect(await at('ls', 'paged', '--filter', 'eval_loss')).toMatchObject({
    code: 1,
    err: expect.stringContaining('"eval_loss<0.5"'),
  });
  expect(JSON.parse((await at('rm', 'paged@11', '--json')).out)).toMatchObject({ name: 'paged@11', state: 'deleted' });
});

test('a listing of an unknown model ends with 1', async () => {
  const { code, err } = await at('ls', 'no-such-model');
  expect([code, err]).toEqual([1, expect.stringContaining('(model_not_found)')]);
});

test('SIGTERM ends it with 0; what it logged is JSON, a line each', async () => {
  gateway.process.kill('SIGTERM');
  const { code, out } = await gateway.ended;
  expect(code).toBe(0);
  const records = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { msg: string });
  expect(records.length).toBeGreaterThan(0);
});
