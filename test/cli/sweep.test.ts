// `stepgate sweep` as a person runs it: a process of its own, a real gateway, simulated engines with two slots.
import { spawnSync } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { type House, setUp, until } from '../gateway/harness.ts';
import { begin, type Ended, run } from './run.ts';

let house: House;
let out: string;
/** Requests that the engine saw before. */
let before: number;

const STEPS = [10, 20, 30, 40, 50, 60];
const body = (text: string) => ({ messages: [{ role: 'user', content: text }], max_tokens: 4 });
const lines = (count: number, of: (index: number) => unknown = (index) => body(`question ${index}`)) =>
  Array.from({ length: count }, (_, index) => `${JSON.stringify(of(index))}\n`).join('');

beforeEach(async () => {
  house = await setUp({ latest: 'published' });
  for (const step of STEPS) await house.write(step);
  out = join(house.home, 'answers');
  before = seen();
});

async function requests(text: string, name = 'requests.jsonl'): Promise<string> {
  const file = join(house.home, name);
  await writeFile(file, text);
  return file;
}

const args = (steps: string, file: string, ...more: string[]) => {
  const { url, adminUrl } = house.running;
  return ['sweep', steps, '--requests', file, '--url', url, '--admin', adminUrl, '--out', out, ...more];
};
const sweep = (steps: string, file: string, ...more: string[]): Promise<Ended> => run(args(steps, file, ...more));

interface Line {
  custom_id: string;
  response: { status_code: number; request_id: string; body: { model: string } } | null;
  error: { code: string } | null;
}

const answers = async (step: number): Promise<Line[]> =>
  (await readFile(join(out, `my-model@${step}.jsonl`), 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);

const ids = async (step: number) => (await answers(step)).map(({ custom_id }) => custom_id).sort();
const loads = () => house.sims[0]?.stats().loads;
const seen = (): number => house.sims[0]?.stats().requests ?? 0;
const asked = (): number => seen() - before;
const files = (): Promise<string[]> => readdir(out).catch(() => []);

describe('two sweeps and one directory', () => {
  test('the second is refused while the first lives, with what to do; nothing is asked', async () => {
    const file = await requests(lines(2));
    await mkdir(out);
    await writeFile(join(out, '.running'), `${process.pid}`);
    const { code, err } = await sweep('my-model@10', file);
    expect(code).toBe(2);
    expect(err).toContain(`another sweep (process ${process.pid}) writes to`);
    expect(err).toContain('--out');
    expect(asked()).toBe(0);
  });

  test('one that was killed does not hold the directory for ever', async () => {
    const file = await requests(lines(2));
    await mkdir(out);
    await writeFile(join(out, '.running'), `${spawnSync('true').pid}`);
    expect((await sweep('my-model@10', file)).code).toBe(0);
    expect(await ids(10)).toHaveLength(2);
    expect(await files()).not.toContain('.running');
  });
});

describe('a sweep', () => {
  test('asks every step every request, each once, with one load for each step, and says where the answers are', async () => {
    const file = await requests(lines(12));
    const { code, out: said, err } = await sweep('my-model@10..60', file);
    expect([code, err]).toEqual([0, '']);
    for (const step of STEPS) {
      expect(await ids(step)).toEqual(Array.from({ length: 12 }, (_, index) => `line-${index + 1}`).sort());
      for (const { response, error } of await answers(step)) {
        expect(response).toMatchObject({ status_code: 200, body: { model: `my-model@${step}` } });
        expect(error).toBeNull();
      }
    }
    expect([asked(), loads()]).toEqual([72, 6]);
    expect(said).toMatch(/^my-model: 6 steps \(10, 20, 30, 40, 50, 60\), 12 requests each, to /);
    expect(said).toMatch(/^my-model@60 +12 +0 +\d+ +\d/m);
    expect(said).toContain(`answers: ${join(out, 'my-model@10.jsonl')}`);
    const ended = await (await fetch(`${house.running.adminUrl}/admin/v1/sweeps`)).json();
    expect(ended).toMatchObject({ data: [{ state: 'done', expected: 72, done: 72, stepsDone: 6 }] });
  });

  test('takes batch lines: their ids and their routes', async () => {
    const batch = (index: number) =>
      index === 0
        ? { custom_id: 'a', method: 'POST', url: '/v1/completions', body: { model: 'x', prompt: 'hi', max_tokens: 2 } }
        : { custom_id: `b-${index}`, url: '/v1/chat/completions', body: body('hi') };
    expect((await sweep('my-model@20,40', await requests(lines(2, batch)))).code).toBe(0);
    expect(await ids(40)).toEqual(['a', 'b-1']);
    const first = (await answers(20)).find(({ custom_id }) => custom_id === 'a');
    expect(first?.response?.body).toMatchObject({ object: 'text_completion', model: 'my-model@20' });
    expect((await readdir(out)).sort()).toEqual(['my-model@20.jsonl', 'my-model@40.jsonl', 'summary.json']);
  });

  test('prints its summary as JSON, and nothing else on stdout', async () => {
    const { out: said, code } = await sweep('my-model@*', await requests(lines(2)), '--json');
    expect(code).toBe(0);
    const summary = JSON.parse(said);
    expect(Object.keys(summary.steps)).toEqual(STEPS.map(String));
    expect(summary.steps[60]).toMatchObject({ ok: 2, failed: 0 });
    expect(summary.steps[60].tokens).toBeGreaterThan(0);
    expect(JSON.parse(await readFile(join(out, 'summary.json'), 'utf8'))).toEqual(summary);
  });

  test('with --dry-run asks and writes nothing', async () => {
    const { code, out: said } = await sweep('my-model@10..60:20', await requests(lines(3)), '--dry-run');
    expect([code, said]).toEqual([0, expect.stringMatching(/^my-model: 3 steps \(10, 30, 50\), 3 requests each/)]);
    expect([asked(), await readdir(house.home)]).toEqual([0, expect.not.arrayContaining(['answers'])]);
  });
});

describe('run again, it asks only for what is missing', () => {
  test('after kill -9 no request is lost and none is doubled', async () => {
    const file = await requests(lines(40));
    const first = begin(args('my-model@10..60', file, '--concurrency', '4'));
    await until(async () => (await files()).includes('my-model@20.jsonl'), 20_000);
    first.process.kill('SIGKILL');
    await first.ended;
    // As if the last line had been torn by the kill.
    await writeFile(join(out, 'my-model@20.jsonl'), '{"id":"sweep_torn","custom_id":"line-4', { flag: 'a' });
    const again = await sweep('my-model@10..60', file);
    expect(again.code).toBe(0);
    expect(again.out).toMatch(/^\d+ of 240 are answered already: \d+ to ask$/m);
    const all = Array.from({ length: 40 }, (_, index) => `line-${index + 1}`).sort();
    for (const step of STEPS) expect(await ids(step)).toEqual(all);
    // Those that were under way when it was killed may have been asked twice, no others.
    expect(asked()).toBeLessThanOrEqual(240 + 4);
    const third = await sweep('my-model@10..60', file);
    expect([third.code, third.out]).toEqual([0, expect.stringContaining('240 of 240 are answered already: 0 to ask')]);
    expect(asked()).toBeLessThanOrEqual(240 + 4);
  });

  test('what has failed is asked for again, and the file holds one answer for each', async () => {
    const bad = (index: number) => (index === 1 ? { messages: 'none' } : body('hi'));
    const file = await requests(lines(3, bad));
    const first = await sweep('my-model@10', file);
    expect([first.code, first.err]).toEqual([1, expect.stringContaining('1 of 3 failed')]);
    expect(await answers(10)).toContainEqual(
      expect.objectContaining({ custom_id: 'line-2', response: expect.objectContaining({ status_code: 400 }) }),
    );
    const once = asked();
    expect((await sweep('my-model@10', file)).code).toBe(1);
    expect(asked()).toBe(once + 1);
    expect(await ids(10)).toEqual(['line-1', 'line-2', 'line-3']);
  });

  test('answers to other requests are not mixed in, unless it starts over', async () => {
    expect((await sweep('my-model@10', await requests(lines(2)))).code).toBe(0);
    const other = await requests(lines(3), 'other.jsonl');
    const refused = await sweep('my-model@10', other);
    expect([refused.code, refused.err]).toEqual([2, expect.stringMatching(/other requests .*--out.*--again/)]);
    expect((await sweep('my-model@10', other, '--again')).code).toBe(0);
    expect(await ids(10)).toHaveLength(3);
  });

  test('a step that was written again meanwhile is not mixed with its former weights', async () => {
    const file = await requests(lines(2));
    await sweep('my-model@10', file);
    const written = await writeCheckpoint({ dir: house.home, step: 10, seed: 7 });
    expect((await run(['register', 'my-model@10', written, '--admin', house.running.adminUrl])).code).toBe(0);
    const refused = await sweep('my-model@10', file);
    expect([refused.code, refused.err]).toEqual([2, expect.stringContaining('was written again since')]);
  });
});

describe('nothing is run', () => {
  const wrong = async (steps: string, text: string) => {
    const { code, err, out: said } = await sweep(steps, await requests(text));
    expect([code, said, asked()]).toEqual([2, '', 0]);
    return err;
  };

  test('when lines of the file are wrong, which are told by their numbers', async () => {
    const text = ['{"messages":[]}', 'nonsense', '', '{"text":"x"}', '{"custom_id":"a","url":"/v1/nowhere","body":{}}'];
    const err = await wrong('my-model@10', [...text, '{"prompt":"x","stream":true}', '[1]'].join('\n'));
    expect(err).toMatch(/line 2: not JSON/);
    expect(err).toMatch(/line 4: has neither "messages" nor "prompt"/);
    expect(err).toMatch(/line 5: "url" is \/v1\/nowhere/);
    expect(err).toMatch(/line 6: "stream" is true/);
    expect(err).toMatch(/line 7: not a JSON object/);
    const twice = '{"custom_id":"a","url":"/v1/completions","body":{"prompt":"x"}}\n';
    expect(await wrong('my-model@10', twice + twice)).toMatch(/line 2: custom_id "a" is that of line 1 too/);
    expect(await wrong('my-model@10', '\n')).toContain('has no requests');
  });

  test('when a step does not exist, a range is empty, or the steps are no steps', async () => {
    expect(await wrong('my-model@10,15,20', lines(1))).toMatch(/my-model@15 does not exist/);
    expect(await wrong('my-model@11..19', lines(1))).toMatch(/has no step there/);
    expect(await wrong('my-model@20..10', lines(1))).toMatch(/smaller step first/);
    expect(await wrong('my-model', lines(1))).toMatch(/names no steps: write my-model@10\.\.200/);
    expect(await wrong('other@1', lines(1))).toMatch(/no model other is known; there is my-model/);
  });

  test('when the file is not there', async () => {
    const { code, err } = await sweep('my-model@10', join(house.home, 'nowhere.jsonl'));
    expect([code, err]).toEqual([2, expect.stringContaining('there is no such file')]);
  });
});

test('a gateway that goes away and comes back costs nothing', async () => {
  const file = await requests(lines(60));
  const going = begin(args('my-model@10..60', file, '--concurrency', '4'));
  await until(async () => (await files()).includes('my-model@20.jsonl'), 20_000);
  const { url, adminUrl } = house.running;
  await house.running.close({ now: true });
  await going.says(/refuses for now/);
  const again = await setUp({
    latest: 'published',
    home: house.home,
    urls: house.sims.map((sim) => sim.url),
    config: { listen: new URL(url).host, admin: new URL(adminUrl).host },
  });
  const { code, err } = await going.ended;
  expect(code).toBe(0);
  expect(err).toContain('answers again');
  for (const step of STEPS) expect(await ids(step)).toHaveLength(60);
  await again.running.close({ now: true });
});

test('a gateway that stays away ends it, and says how to go on', async () => {
  const file = await requests(lines(400));
  const going = begin(args('my-model@10..60', file, '--concurrency', '4', '--patience', '1'));
  await until(async () => (await files()).includes('my-model@10.jsonl'), 20_000);
  await house.running.close({ now: true });
  const { code, err } = await going.ended;
  expect(code).toBe(1);
  expect(err).toMatch(/gave up \(.*\) with \d+ of 2400 answered, \d+ missing; the same command goes on from here/);
});

test('ps shows how far it is, and nothing of it once it is over', async () => {
  const file = await requests(lines(300));
  const going = begin(args('my-model@10..60', file, '--concurrency', '4'));
  const ps = async () => (await run(['ps', '--admin', house.running.adminUrl])).out;
  await until(async () => (await files()).includes('my-model@10.jsonl'), 20_000);
  const said = await ps();
  expect(said).toMatch(/^SWEEP OF +STEPS +REQUESTS +FAILED +RUN +WAIT +RATE +LEFT +BY$/m);
  expect(said).toMatch(/^my-model +\d\/6 +\d+\/1800 +0 +\d +\d +[\d.]+\/s +\d+ \w+ +\w+/m);
  going.process.kill('SIGINT');
  await going.ended;
  expect(await ps()).not.toContain('SWEEP OF');
});

test('Ctrl-C ends it with what is answered on the disk, and the gateway forgets the sweep', async () => {
  const file = await requests(lines(400));
  const going = begin(args('my-model@10..60', file, '--concurrency', '4'));
  await until(async () => (await files()).includes('my-model@10.jsonl'), 20_000);
  going.process.kill('SIGINT');
  const { code, err, out: said } = await going.ended;
  expect([code, err]).toEqual([
    1,
    expect.stringMatching(/stopped with \d+ of 2400 answered; the same command goes on/),
  ]);
  expect(said).toMatch(/^STEP +OK +FAILED +MISSING/m);
  const { data } = (await (await fetch(`${house.running.adminUrl}/admin/v1/sweeps`)).json()) as { data: object[] };
  expect(data).toMatchObject([{ state: 'withdrawn', running: 0 }]);
});
