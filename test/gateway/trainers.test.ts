// Trainers that speak to vLLM, pointed at the gateway: the calls that their sources make, in their order, with their fields.
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { startSim } from '../../src/sim/sim.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { FAST, type House, setUp, until, weightsOf } from './harness.ts';

const LOAD = '/v1/load_lora_adapter';
const UNLOAD = '/v1/unload_lora_adapter';

interface Said {
  readonly status: number;
  readonly text: string;
  readonly type: string | null;
}

async function say(house: House, path: string, body: unknown, headers?: Record<string, string>): Promise<Said> {
  const response = await house.post(path, body, headers);
  return { status: response.status, text: await response.text(), type: response.headers.get('content-type') };
}

const load = (house: House, name: string, path: string, more: object = {}) =>
  say(house, LOAD, { lora_name: name, lora_path: path, ...more });
const unload = (house: House, name: string) => say(house, UNLOAD, { lora_name: name });
const added = (name: string) => ({ status: 200, text: `Success: LoRA adapter '${name}' added successfully.` });
const removed = (name: string) => ({ status: 200, text: `Success: LoRA adapter '${name}' removed successfully.` });
const get = async (house: House, path: string) => (await fetch(`${house.running.url}${path}`)).status;

/** An adapter in a directory of its own. */
const write = (house: House, step: number, dir = 'elsewhere') => writeCheckpoint({ dir: join(house.home, dir), step });

/** vLLM's shape: `code` is the status, `param` null. */
function expectRefusal(said: Said, status: number, type: string, message: string | RegExp): void {
  expect(said.type).toContain('application/json');
  const words = typeof message === 'string' ? message : expect.stringMatching(message);
  expect({ status: said.status, body: JSON.parse(said.text) }).toEqual({
    status,
    body: { error: { message: words, type, param: null, code: status } },
  });
}

// openpipe-art 0.5.18: art/vllm_runtime.py, art/unsloth/service.py (`_reload_adapter`, `_unload_adapter`). Its own code is run by test/harness.
test('ART: health, no ART routes, each step by its name and in place, old ones pruned', async () => {
  const house = await setUp({ config: { models: {} } });
  expect(await get(house, '/health')).toBe(200);
  expect(await get(house, '/v1/models')).toBe(200);
  expect(await get(house, '/art/capabilities')).toBe(404);
  for (const step of [0, 1, 2]) {
    const path = await write(house, step);
    const said = await load(house, `agent@${step}`, path, { load_inplace: true });
    expect(said).toMatchObject(added(`agent@${step}`));
    const answer = await house.ask(`agent@${step}`, { logprobs: true });
    expect(answer).toMatchObject({ status: 200, model: `agent@${step}` });
  }
  expect(await unload(house, 'agent@0')).toMatchObject(removed('agent@0'));
  // It takes 404 for "gone already".
  expect((await unload(house, 'agent@0')).status).toBe(404);
  const ids = (await house.openai.models.list()).data.map(({ id }) => id);
  expect(ids).toEqual(['base', 'agent@1', 'agent@2']);
});

// trl 1.16.0: trl/experimental/async_grpo/{vllm_client,async_grpo_trainer,async_rollout_worker}.py, and the same in async_distillation.
test('TRL async: what the server can do; then for each version a pause, a load, a resume; the stale one is let go of', async () => {
  const house = await setUp({ config: { models: {} } });
  const json = async (path: string) => (await fetch(`${house.running.url}${path}`)).json();
  expect(await get(house, '/health')).toBe(200);
  const models = (await json('/v1/models')) as { data: { max_model_len: number }[] };
  expect(models.data[0]?.max_model_len).toBeGreaterThan(0);
  const { vllm_config: server } = (await json('/server_info?config_format=json')) as {
    vllm_config: {
      lora_config: { max_loras: number; max_lora_rank: number };
      parallel_config: { data_parallel_size: number };
    };
  };
  // Its defaults: up to four versions old, and rank 32 or whatever the engines take.
  expect(server.lora_config.max_loras).toBeGreaterThanOrEqual(6);
  expect(server.lora_config.max_lora_rank).toBe(512);
  expect(server.parallel_config.data_parallel_size).toBe(1);

  const stale = 2;
  for (const version of [1, 2, 3, 4]) {
    const name = `trl-policy-v${version}`;
    expect((await house.post('/pause?mode=keep', '')).status).toBe(200);
    const path = await write(house, version, '.vllm_lora');
    expect(await load(house, name, path, { load_inplace: false })).toMatchObject(added(name));
    expect((await house.post('/resume', '')).status).toBe(200);
    if (version > stale) expect((await unload(house, `trl-policy-v${version - stale}`)).status).toBe(200);
    const body = { model: name, prompt: [72, 105], max_tokens: 4, n: 1, return_token_ids: true, logprobs: 0, seed: 7 };
    const answer = (await (await house.post('/v1/completions', body)).json()) as {
      model: string;
      choices: { text: string; token_ids: number[]; logprobs: { token_logprobs: number[] } }[];
    };
    const [choice] = answer.choices;
    expect(answer.model).toBe(`trl-policy@${version}`);
    expect(choice?.text).toContain(await weightsOf(path));
    expect([choice?.token_ids.length, choice?.logprobs.token_logprobs.length]).toEqual([4, 4]);
  }
  expect(await house.ask('trl-policy-v2')).toMatchObject({ status: 410, code: 'checkpoint_deleted' });
  expect(await house.ask('trl-policy-v3')).toMatchObject({ status: 200, model: 'trl-policy@3' });
  expect(await house.ask('trl-policy')).toMatchObject({ status: 200, model: 'trl-policy@4' });
  expect((await house.openai.models.retrieve('trl-policy-v4')).id).toBe('trl-policy@4');
});

test('a rank that no engine takes is known before TRL trains with it', async () => {
  const sim = await startSim(FAST);
  const backends = [{ name: 'small', url: sim.url, rankMax: 16 }];
  const house = await setUp({ engines: [], config: { models: {}, backends } });
  const said = await (await fetch(`${house.running.url}/server_info`)).json();
  expect(said).toMatchObject({ vllm_config: { lora_config: { max_lora_rank: 16 } } });
  await sim.close();
});

test("Axolotl: one name, the base's path, other weights in place, and the directory before goes at once", async () => {
  const house = await setUp({ config: { models: {} } });
  const name = 'Qwen/Qwen3-8B';
  const paths: string[] = [];
  for (const version of [1, 2, 3]) {
    const path = join(house.home, 'lora_sync_x1', `v${version}`);
    await cp(await write(house, version), path, { recursive: true });
    expect(await load(house, name, path, { load_inplace: true })).toMatchObject(added(name));
    const weights = await weightsOf(path);
    if (version > 1) await rm(paths.at(-1) ?? '', { recursive: true });
    paths.push(path);
    const answer = await house.ask(name);
    expect(answer).toMatchObject({ status: 200, model: name });
    expect(answer.text).toContain(weights);
  }
  expect(house.running.gateway.registry.catalog.find(name)?.revision).toBe(3);
});

test("Axolotl's probe for the route finds it, and what it is told names the adapter", async () => {
  const house = await setUp();
  const probe = await load(house, '__probe__', '/nonexistent');
  expectRefusal(probe, 404, 'NotFoundError', 'Loading lora __probe__ failed: No adapter found for /nonexistent');
});

// prime-rl 0.8.0 (559b447): src/prime_rl/utils/client.py; orchestrator/envs.py for what it asks with.
test('prime-rl: health, the base, no broadcaster; then its route at the root, one name, always in place; 404 until the files are there', async () => {
  const house = await setUp({ config: { models: {} } });
  expect(await get(house, '/health')).toBe(200);
  expect((await house.openai.models.list()).data.map(({ id }) => id)).toContain('base');
  expect((await house.post('/init_broadcaster', { host: 'trainer', port: 29501 })).status).toBe(404);
  const first = join(house.home, 'broadcasts', 'step_1');
  const body = (path: string) => ({ lora_name: 'run', lora_path: path });
  // It tries again on 404, for file systems that show new files late.
  expect((await say(house, '/load_lora_adapter', body(first))).status).toBe(404);
  for (const step of [1, 2]) {
    const path = join(house.home, 'broadcasts', `step_${step}`);
    await cp(await write(house, step), path, { recursive: true });
    const said = await say(house, '/load_lora_adapter', body(path));
    expect([said.status, JSON.parse(said.text)]).toEqual([200, { status: 'ok' }]);
    const asked = { cache_salt: `${step}`, logprobs: true, return_token_ids: true };
    expect((await house.ask('run', asked)).text).toContain(await weightsOf(path));
  }
  expect(await unload(house, 'run')).toMatchObject(removed('run'));
});

test('SkyRL: its own route, in place', async () => {
  const house = await setUp({ config: { models: {} } });
  for (const step of [1, 2]) {
    const path = await write(house, step);
    const said = await say(house, '/skyrl/v1/load_lora_adapter', { lora_name: 'skyrl-lora', lora_path: path });
    expect([said.status, JSON.parse(said.text)]).toEqual([
      200,
      { status: 'ok', lora_name: 'skyrl-lora', lora_int_id: step },
    ]);
    expect((await house.ask('skyrl-lora')).text).toContain(await weightsOf(path));
  }
});

describe('loading', () => {
  test('twice is once, while the weights are the same; others need load_inplace, and become a new revision', async () => {
    const house = await setUp({ config: { models: {} } });
    const [one, two] = [await write(house, 1), await write(house, 2)];
    for (let times = 0; times < 2; times++) expect(await load(house, 'm@5', one)).toMatchObject(added('m@5'));
    const words =
      "The lora adapter 'm@5' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.";
    expectRefusal(await load(house, 'm@5', two), 400, 'InvalidUserInput', words);
    expect((await house.ask('m@5')).text).toContain(await weightsOf(one));
    expect(await load(house, 'm@5', two, { load_inplace: true })).toMatchObject(added('m@5'));
    expect((await house.ask('m@5')).text).toContain(await weightsOf(two));
    expect(house.running.gateway.registry.catalog.find('m@5')?.revision).toBe(2);
  });

  test('of many at once under one name and with one content all succeed', async () => {
    const house = await setUp({ config: { models: {} } });
    const path = await write(house, 1);
    const said = await Promise.all(Array.from({ length: 5 }, () => load(house, 'm@1', path)));
    expect(said.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(house.running.gateway.registry.catalog.find('m@1')?.revision).toBe(1);
  });

  test('of many steps at once leaves the newest warm, and no load fails', async () => {
    const house = await setUp({ engines: [{ maxLoras: 4 }], latest: 'ready' });
    const steps = [1, 2, 3, 4, 5, 6, 7, 8];
    const paths = await Promise.all(steps.map((step) => write(house, step)));
    await Promise.all(paths.map((path, index) => load(house, `my-model@${steps[index]}`, path)));
    await until(() => house.running.gateway.registry.catalog.latest('my-model')?.step === 8);
    await until(() => house.happenings.some((one) => one.type === 'promoted' && one.checkpoint === 'my-model@8'));
    expect(house.happenings.filter(({ type }) => type === 'loadFailed')).toEqual([]);
  });

  test('a name that ends like a version is that name, where it is registered exactly so', async () => {
    const house = await setUp({ config: { models: { 'sql-v2': {} } } });
    const [one, two] = [await write(house, 1), await write(house, 2)];
    await load(house, 'sql-v2', one);
    expect((await house.ask('sql-v2')).model).toBe('sql-v2');
    await load(house, 'sql-v3', two);
    expect((await house.ask('sql-v3')).model).toBe('sql@3');
  });

  test.each([
    ['half the weights', 'truncated', /^Call to add_lora method failed: .* bytes/],
    ['DoRA', 'dora', /^Call to add_lora method failed: .*DoRA/],
  ] as const)('%s is 500, as by vLLM', async (_, flaw, words) => {
    const house = await setUp({ config: { models: {} } });
    const path = await writeCheckpoint({ dir: join(house.home, 'bad'), step: 1, flaw });
    expectRefusal(await load(house, 'm@1', path), 500, 'InternalServerError', words);
  });

  test("a base's name, and a path outside the roots", async () => {
    const house = await setUp();
    const path = await write(house, 1);
    const base = "The lora adapter 'base' conflicts with a served base model.";
    expectRefusal(await load(house, 'base', path), 400, 'InvalidUserInput', base);
    const fenced = await setUp({ config: { roots: ['/nowhere'] } });
    expectRefusal(await load(fenced, 'm@1', path), 403, 'PermissionDeniedError', /outside the allowed roots/);
  });
});

describe('what a request lacks is told in the words of vLLM', () => {
  test.each([
    [
      LOAD,
      { lora_name: '', lora_path: '/x' },
      'InvalidUserInput',
      "Both 'lora_name' and 'lora_path' must be provided.",
    ],
    [LOAD, { lora_name: 'x', lora_path: '' }, 'InvalidUserInput', "Both 'lora_name' and 'lora_path' must be provided."],
    [
      LOAD,
      { lora_name: 'x' },
      'Bad Request',
      "1 validation error:\n  {'type': 'missing', 'loc': 'body.lora_path', 'msg': 'Field required', 'input': '<dict of 1 items>'}",
    ],
    [
      LOAD,
      { lora_name: 5, lora_path: '/x' },
      'Bad Request',
      "1 validation error:\n  {'type': 'string_type', 'loc': 'body.lora_name', 'msg': 'Input should be a valid string', 'input': '5'}",
    ],
    [LOAD, '{nope', 'Bad Request', /JSON decode error/],
    [LOAD, '[]', 'Bad Request', /valid dictionary/],
    [UNLOAD, { lora_name: '' }, 'InvalidUserInput', "'lora_name' needs to be provided to unload a LoRA adapter."],
    [UNLOAD, {}, 'Bad Request', /body\.lora_name/],
  ])('%s %j', async (path, body, type, words) => {
    const house = await setUp({ engines: [] });
    expectRefusal(await say(house, path, body), 400, type, words);
  });

  test('another content type', async () => {
    const house = await setUp({ engines: [] });
    const said = await say(house, LOAD, {}, { 'content-type': 'text/plain' });
    expectRefusal(
      said,
      400,
      'Bad Request',
      "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed",
    );
  });

  test('an unload of what is not known', async () => {
    const house = await setUp({ engines: [] });
    expectRefusal(await unload(house, 'm@1'), 404, 'NotFoundError', "The lora adapter 'm@1' cannot be found.");
  });
});

test('a step that somebody keeps stays when its trainer unloads it, and the trainer is not stopped', async () => {
  const house = await setUp({ config: { models: {} } });
  await load(house, 'm@1', await write(house, 1));
  house.running.gateway.registry.moveAlias({ model: 'm', alias: 'champion', to: 1, who: 'test' });
  expect(await unload(house, 'm@1')).toMatchObject(removed('m@1'));
  expect(await house.ask('m@champion')).toMatchObject({ status: 200, model: 'm@1' });
});

test('from the network nothing is loaded until the config says from where', async () => {
  const house = await setUp({ engines: [], config: { listen: ':0' } });
  const port = new URL(house.running.url).port;
  const { key } = house.running.gateway.access.keys.create({ name: 'trainer', scopes: ['publish'], models: ['*'] });
  const response = await fetch(`http://127.0.0.1:${port}${LOAD}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify({ lora_name: 'm@1', lora_path: await write(house, 1) }),
  });
  expect(response.status).toBe(403);
  expect(await response.text()).toContain('roots');
});
