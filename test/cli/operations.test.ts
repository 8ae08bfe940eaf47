// `stepgate drain` and `stepgate reload`, as a person uses them: a gateway in a process of its own, in front of two simulated engines.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Sim, startSim } from '../../src/sim/sim.ts';
import { begin, type Run, run } from './run.ts';

let home: string;
let file: string;
let sims: Sim[];
let gateway: Run;
let url: string;
let admin: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'stepgate-cli-'));
  sims = await Promise.all([1, 2].map(() => startSim({ firstTokenMs: 1, tokenMs: 10, answerTokens: 100_000 })));
  file = join(home, 'gate.yaml');
  const rows = sims.map((sim, index) => `  - { name: gpu-${index}, url: "${sim.url}", slots: 2 }\n`).join('');
  await writeFile(file, `listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ndata: data\nbackends:\n${rows}`);
  gateway = begin(['serve', '--config', file]);
  [, url = ''] = await gateway.says(/serves at (\S+)\/v1/);
  [, admin = ''] = await gateway.says(/admin +(\S+)/);
});

afterAll(async () => {
  gateway.process.kill('SIGKILL');
  await gateway.ended;
  await Promise.all(sims.map((sim) => sim.close()));
  await rm(home, { recursive: true, force: true });
});

const at = (...args: string[]) => [...args, '--admin', admin];

test('drain says what runs there still, ends when it is empty, and --off takes it back', async () => {
  const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] };
  const caller = new AbortController();
  const stream = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: data[0]?.id, prompt: 'hi', stream: true, max_tokens: 10_000 }),
    signal: caller.signal,
  });
  const name = stream.headers.get('x-stepgate-backend') ?? '';
  const drain = begin(at('drain', name));
  await drain.says(new RegExp(`${name}: 1 request runs there still`));
  expect((await run(at('ps'))).out).toMatch(new RegExp(`^${name} +draining +0/2 +1 `, 'm'));
  caller.abort();
  const { code, out } = await drain.ended;
  expect([code, out.trimEnd().split('\n')[0]]).toEqual([
    0,
    `draining ${name}: nothing new goes there; to take it back: stepgate drain ${name} --off`,
  ]);
  expect(out).toMatch(new RegExp(`^drained ${name} in \\d+ s: nothing runs there any more$`, 'm'));
  const listed = (await run(at('ps'))).out;
  expect(listed).toMatch(new RegExp(`^${name} +drained +0/2 +0 `, 'm'));
  expect(listed).toContain(`stepgate drain ${name} --off`);

  const other = name === 'gpu-0' ? 'gpu-1' : 'gpu-0';
  const last = await run(at('drain', other));
  expect([last.code, last.out, last.err]).toEqual([1, '', expect.stringContaining('--force')]);
  expect(await run(at('drain', name, '--off'))).toMatchObject({ code: 0, out: `${name} is used again\n` });
  const json = JSON.parse((await run(at('drain', name, '--json'))).out);
  expect(json).toMatchObject({ name, drain: { state: 'drained' } });
  await run(at('drain', name, '--off'));
});

test('an engine that does not exist ends it with 1, and a line that names those that do', async () => {
  const { code, out, err } = await run(at('drain', 'nope'));
  expect([code, out]).toEqual([1, '']);
  expect(err).toBe('there is no backend "nope"; there are gpu-0, gpu-1 (backend_not_found)\n');
});

test('reload says what changed; a broken file ends it with 1, and changes nothing', async () => {
  const good = await readFile(file, 'utf8');
  expect(await run(at('reload'))).toMatchObject({ code: 0, out: 'nothing differs from what counts already\n' });
  await writeFile(file, `${good}limits: { queueMax: 500 }\nstore: { bytesMax: 10000000 }\n`);
  expect(await run(at('reload'))).toMatchObject({
    code: 0,
    out: 'limits.queueMax: 10000 -> 500\nstore.bytesMax: 10000000\n',
  });
  await writeFile(file, good.replace('slots: 2', 'slots: two'));
  const refused = await run(at('reload'));
  expect([refused.code, refused.out]).toEqual([1, '']);
  expect(refused.err).toMatch(/^nothing was changed:\n.*gate\.yaml:5:\d+: backends\[0\]\.slots: /);
  await rm(file);
  expect((await run(at('reload'))).err).toMatch(/there is no such file/);
  await writeFile(file, good);
  expect((await run(at('reload'))).out).toBe(
    'limits.queueMax: 500 -> 10000\nstore.bytesMax: 10000000 -> the default\n',
  );
});
