// `stepgate deploy` against a real gateway in a process of its own: also from the environment of a Fine Tuning Studio predict script, as its
// ft/export.py sets it; and what was acknowledged is there after a SIGKILL.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startSim } from '../../src/sim/sim.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { adapterFiles, houseWith } from '../sources/house.ts';
import { startHub } from '../sources/stand-ins/hub.ts';
import { begin, type Run, run } from './run.ts';

const BASE = 'bigscience/bloom-1b1';
/** json.dumps of ft/consts.py's DEFAULT_GENERATIONAL_CONFIG. */
const STUDIO =
  '{"do_sample": true, "temperature": 0.8, "max_new_tokens": 60, "top_p": 1, "top_k": 50, "num_beams": 1, "repetition_penalty": 1.1, "max_length": null}';
const STUDIO_SENT = { temperature: 0.8, max_tokens: 60, top_p: 1, top_k: 50, repetition_penalty: 1.1 };

let home: string;
let sim: Awaited<ReturnType<typeof startSim>>;
let gateway: Run;
let url: string;
let admin: string;

async function serve(): Promise<void> {
  gateway = begin(['serve', '--config', join(home, 'gate.yaml')]);
  [, url = ''] = await gateway.says(/serves at (\S+)\/v1/);
  [, admin = ''] = await gateway.says(/admin +(\S+)/);
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'stepgate-cli-'));
  sim = await startSim({ base: BASE, maxLoras: 4, loadMs: 1, firstTokenMs: 1, tokenMs: 0.1, answerTokens: 4 });
  await writeFile(
    join(home, 'gate.yaml'),
    `listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ndata: data\nbackends: [{ name: gpu-0, url: "${sim.url}" }]\n`,
  );
  await serve();
  for (const step of [5, 10]) {
    const path = await writeCheckpoint({ dir: home, step, base: BASE });
    expect((await at('register', `my-model@${step}`, path)).code).toBe(0);
  }
});

afterAll(async () => {
  gateway.process.kill('SIGKILL');
  await gateway.ended;
  await sim.close();
  await rm(home, { recursive: true, force: true });
});

const at = (...args: string[]) => run([...args, '--admin', admin]);
const fromEnv = (env: Record<string, string>, ...args: string[]) =>
  run(['deploy', ...args, '--from-env', '--admin', admin], env);

async function predict(name: string, request: Record<string, unknown> = { prompt: 'Hi' }) {
  const response = await fetch(`${url}/v1/deployments/${name}/predict`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ request }),
  });
  return (await response.json()) as { success: boolean; response: { text: string; model: string } };
}

test('make, change, show, roll back and remove, in 80 columns; the example that is printed works', async () => {
  expect((await at('deploy')).out).toContain('no deployments');
  const generation = join(home, 'generation.json');
  await writeFile(generation, '{"max_new_tokens": 3, "temperature": 0.2}');
  const options = ['--generation', `@${generation}`, '--template', 'Q: {question}\nA:'];
  const made = await at('deploy', 'support', '--target', 'my-model@5', ...options);
  expect(made.out).toMatch(/^support is my-model@5 \(build 1\)\ncurl http/);
  const [, address = '', body = ''] = /curl (\S+) .+-d '(.+)'/s.exec(made.out) ?? [];
  const asked = await fetch(address, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  expect(await asked.json()).toMatchObject({ success: true, response: { model: 'my-model@5' } });
  expect(JSON.parse(sim.seen()?.body ?? '')).toMatchObject({ prompt: 'Q: Hello\nA:', max_tokens: 3, temperature: 0.2 });

  expect((await at('deploy', 'support', '--target', 'my-model@<=10')).out).toMatch(
    /^support is my-model@<=10, now my-model@10 \(build 2\)/,
  );
  const shown = await at('deploy', 'support');
  expect(shown.out).toMatch(/^2 +my-model@<=10 +\d+ s ago/m);
  expect(shown.out).toContain('\ntemplate: "Q: {question}\\nA:"\ngeneration: {"max_new_tokens":3,"temperature":0.2}\n');
  expect((await at('deploy', 'support', '--rollback', '1')).out).toMatch(/^support is my-model@5 \(build 3\)/);
  const listed = await at('deploy');
  expect(listed.out).toMatch(/^support +3 +my-model@5 +my-model@5 /m);
  for (const line of listed.out.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  await at('deploy', 'moving', '--target', 'my-model@<=7');
  const everything = (await at('ls')).out;
  expect(everything).toMatch(
    /^my-model .*\n\nDEPLOYMENT +BUILD +TARGET +LEADS TO\nmoving +1 +my-model@<=7 +my-model@5\nsupport +3 +my-model@5 +my-model@5\n$/m,
  );
  for (const line of everything.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  expect(JSON.parse((await at('ls', '--json')).out)).toMatchObject({
    data: [{ name: 'my-model' }],
    deployments: [{ name: 'moving' }, { name: 'support', build: 3, target: 'my-model@5' }],
  });
  await at('deploy', 'moving', '--remove');
  expect(JSON.parse((await at('deploy', 'support', '--json')).out)).toMatchObject({
    build: 3,
    builds: [{ copyOf: 1 }, {}, {}],
  });
  expect((await at('deploy', 'support', '--template', 'Q: {question}\\nA:')).err).toContain('"\\n" as two characters');
  expect((await at('deploy', 'support', '--remove')).out).toBe('removed support\n');
}, 60_000);

test.each<[string[], number, string]>([
  [['nothing'], 1, 'There is no deployment "nothing"'],
  [['x', '--target', 'my-model@7'], 1, 'nearest: my-model@5, my-model@10'],
  [['x', '--target', 'my-model@5', '--generation', '{max'], 2, '--generation is no JSON'],
  [['x', '--target', 'my-model@5', '--generation', '@/nowhere'], 1, 'no such file'],
  [['x', '--target', 'my-model@5', '--generation', '{"max_tokens": 3}'], 1, 'Nearest: max_new_tokens'],
  [['x', '--target', 'my-model@5', '--template', 'none'], 1, 'put {prompt} into it'],
  [['x', '--chat'], 1, '`target` is missing: there is no deployment "x" yet'],
  [['--target', 'my-model@5'], 2, 'NAME is missing'],
  [['x', '--remove', '--rollback', '1'], 2, 'give options of a build, --rollback or --remove'],
  [['x', '--base', 'y'], 2, '--base goes with --from-env'],
  [['my-model', '--target', 'my-model@5'], 1, 'name of a model'],
])('deploy %j ends with %i and says what to do', async (args, code, words) => {
  const ended = await at('deploy', ...args);
  expect([ended.code, ended.err]).toEqual([code, expect.stringContaining(words)]);
  expect((await at('deploy')).out).toContain('no deployments');
});

describe('from the environment of a predict script', () => {
  const env = (location: string, generation = STUDIO) => ({
    FINE_TUNING_STUDIO_BASE_MODEL_HF_NAME: BASE,
    FINE_TUNING_STUDIO_ADAPTER_LOCATION: location,
    FINE_TUNING_STUDIO_GEN_CONFIG_STRING: generation,
  });

  test('its adapter and its defaults are deployed; again it is the same build, and other weights are the next', async () => {
    const location = await writeCheckpoint({ dir: join(home, 'adapters'), step: 1, base: BASE });
    const first = await fromEnv(env(location), 'ticketing');
    expect([first.code, first.out]).toEqual([
      0,
      expect.stringMatching(/^ticketing is checkpoint-1-[0-9a-f]{8} \(build 1\)/),
    ]);
    expect(first.err).toContain(`registered checkpoint-1-`);
    const { success, response } = await predict('ticketing');
    expect([success, response.model]).toEqual([true, expect.stringMatching(/^checkpoint-1-/)]);
    const { model, prompt, ...parameters } = JSON.parse(sim.seen()?.body ?? '') as Record<string, unknown>;
    expect([prompt, parameters]).toEqual(['Hi', STUDIO_SENT]);
    expect((await fromEnv(env(location), 'ticketing')).out).toContain('(build 1)');

    await rm(location, { recursive: true });
    await writeCheckpoint({ dir: join(home, 'adapters'), step: 1, base: BASE, seed: 77 });
    expect((await fromEnv(env(location), 'ticketing')).out).toContain('(build 2)');
    expect((await predict('ticketing')).response.model).not.toBe(response.model);
  }, 60_000);

  test('its name is the adapter’s where none is given; single quotes, bare names and no defaults are read as the script reads them', async () => {
    const location = await writeCheckpoint({ dir: home, step: 20, base: BASE });
    const quoted = await fromEnv(env(location, "{'max_new_tokens': 2}"));
    expect(quoted.out).toMatch(/^checkpoint-20 is checkpoint-20-[0-9a-f]{8} \(build 1\)/);
    await predict('checkpoint-20');
    expect(JSON.parse(sim.seen()?.body ?? '')).toMatchObject({ max_tokens: 2 });
    const bare = await fromEnv({ BASE_MODEL_HF_NAME: BASE, ADAPTER_LOCATION: location });
    expect(bare.out).toContain('(build 2)');
    await predict('checkpoint-20');
    expect(JSON.parse(sim.seen()?.body ?? '')).toMatchObject(STUDIO_SENT);
    const alone = await fromEnv({ FINE_TUNING_STUDIO_BASE_MODEL_HF_NAME: BASE }, 'alone');
    expect(alone.out).toMatch(/^alone is bigscience\/bloom-1b1 /);
  }, 60_000);

  test('where it cannot be deployed, its adapter is not left registered, unless it was before', async () => {
    const location = await writeCheckpoint({ dir: join(home, 'refused'), step: 3, base: BASE });
    const listed = async () => (await fetch(`${url}/v1/models`)).text();
    expect((await fromEnv(env(location), 'refused', '--generation', '{max')).err).toContain('--generation is no JSON');
    expect(await listed()).not.toContain('checkpoint-3-');
    const refused = await fromEnv(env(location, '{"use_cache": true}'), 'refused');
    expect([refused.code, refused.err]).toEqual([
      1,
      expect.stringMatching(/deleted checkpoint-3-.* again\n.*use_cache/),
    ]);
    expect(await listed()).not.toContain('checkpoint-3-');
    expect((await fromEnv(env(location), 'refused')).code).toBe(0);
    expect((await at('deploy', 'refused', '--target', 'my-model@5')).code).toBe(0);
    expect((await fromEnv(env(location, '{"use_cache": true}'), 'refused')).err).not.toContain('deleted');
    expect(await listed()).toContain('checkpoint-3-');
  }, 60_000);

  test.each<[string, Record<string, string>, string]>([
    ['nothing', {}, 'FINE_TUNING_STUDIO_BASE_MODEL_HF_NAME is not set'],
    [
      'a directory that is not there',
      env('/nowhere'),
      'FINE_TUNING_STUDIO_ADAPTER_LOCATION: "/nowhere" is no directory',
    ],
    ['bad JSON', env('/nowhere', '{max'), 'FINE_TUNING_STUDIO_GEN_CONFIG_STRING is no JSON'],
    [
      'beams',
      { FINE_TUNING_STUDIO_BASE_MODEL_HF_NAME: BASE, GEN_CONFIG_STRING: '{"num_beams": 4}' },
      'num_beams` must be 1',
    ],
  ])('with %s it says so and deploys nothing', async (_, variables, words) => {
    const ended = await fromEnv(variables, 'fails');
    expect([ended.code, ended.err]).toEqual([1, expect.stringContaining(words)]);
    expect((await at('deploy', 'fails')).code).toBe(1);
  });
});

test('an adapter of the Hub is fetched, where the config allows it; else it says what is in the way', async () => {
  const hub = await startHub();
  hub.repos['my-org/lora'] = await adapterFiles();
  const house = await houseWith({ allow: ['hf:my-org/lora'], hf: { url: hub.url, redirects: [hub.cdn.host] } });
  const deploy = (location: string) =>
    run(['deploy', '--from-env', '--admin', house.running.adminUrl], {
      BASE_MODEL_HF_NAME: 'base',
      ADAPTER_LOCATION: location,
    });
  const made = await deploy('my-org/lora');
  expect([made.code, made.out]).toEqual([0, expect.stringMatching(/^lora is lora-main \(build 1\)/)]);
  const answer = await house.post('/v1/deployments/lora/predict', { request: { prompt: 'Hi' } });
  expect(await answer.json()).toMatchObject({ success: true, response: { model: 'lora-main' } });
  const refused = await deploy('other/lora@v1');
  expect([refused.code, refused.err]).toEqual([
    1,
    expect.stringMatching(/no directory .* and as hf:other\/lora@v1: .*sources/),
  ]);
}, 60_000);

test('where a key is needed, the example that is printed has it, as up’s has', async () => {
  const house = await houseWith({ allow: [] });
  const { key } = house.running.gateway.access.keys.create({ name: 'ops', scopes: ['admin', 'use'], models: ['*'] });
  const options = ['--target', 'base', '--admin', house.running.adminUrl];
  const { out } = await run(['deploy', 'support', ...options], { STEPGATE_KEY: key });
  expect(out).toContain('\n  -H "authorization: Bearer $STEPGATE_KEY" \\\n');
  expect(out).not.toContain(key);
}, 60_000);

test('what was acknowledged is there after a SIGKILL, and what was removed is not', async () => {
  for (let build = 1; build <= 3; build++) await at('deploy', 'kept', '--target', `my-model@${build % 2 ? 5 : 10}`);
  await at('deploy', 'gone', '--target', 'my-model@5');
  await at('deploy', 'gone', '--remove');
  const last = await at('deploy', 'kept', '--chat');
  gateway.process.kill('SIGKILL');
  await gateway.ended;
  await serve();
  expect(last.out).toContain('(build 4)');
  expect((await at('deploy', 'kept')).out).toMatch(/^kept is my-model@5 \(build 4\)/);
  expect((await at('deploy', 'gone')).code).toBe(1);
  expect((await predict('kept')).response.model).toBe('my-model@5');
}, 60_000);
