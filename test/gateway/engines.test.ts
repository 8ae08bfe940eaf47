// Engines of other kinds behind one gateway, and beside vLLM: the same name outside, the right weights on each, whatever each calls them.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startSim } from '../../src/sim/sim.ts';
import { type HostedOptions, hosted } from '../backends/engines/hosted.ts';
import { lorax } from '../backends/engines/lorax.ts';
import { sglang } from '../backends/engines/sglang.ts';
import { FAST, type House, setUp, until, weightsOf } from './harness.ts';

const TEMPLATES = { 'my-model': 'run/{step:06}' };

async function vllm(): Promise<{ url: string }> {
  const sim = await startSim(FAST);
  onTestFinished(() => sim.close());
  return sim;
}

const service = (url: string, more: object = {}) => ({
  ...{ name: 'service', kind: 'openai-compatible', url, bases: ['base'], models: TEMPLATES },
  ...more,
});

/** A gateway in front of these, with steps 5 and 40 of my-model; `words` says what the weights of a step answer. */
async function house(backends: readonly object[]): Promise<House & { words: (step: number) => Promise<string> }> {
  const made = await setUp({ urls: [], latest: 'published', config: { backends } });
  const paths = new Map<number, string>();
  for (const step of [5, 40]) paths.set(step, await made.write(step));
  return { ...made, words: (step) => weightsOf(paths.get(step) ?? '') };
}

/** What the service has of my-model, once its weights are known. */
async function fill(
  service: { models: Record<string, string> },
  { words }: { words: (step: number) => Promise<string> },
) {
  for (const step of [5, 40]) service.models[`run/${String(step).padStart(6, '0')}`] = await words(step);
}

async function streamed({ openai }: House, model: string): Promise<{ text: string; models: string[] }> {
  const stream = await openai.chat.completions.create({
    model,
    stream: true,
    messages: [{ role: 'user', content: 'hi' }],
  });
  const models = new Set<string>();
  let text = '';
  for await (const part of stream) {
    models.add(part.model);
    text += part.choices[0]?.delta.content ?? '';
  }
  return { text, models: [...models] };
}

test('one engine of each kind: every step is answered by its own weights on each, streamed or not, under the name that was asked for', async () => {
  const services = await hosted();
  const kinds = { vllm: await vllm(), sglang: await sglang(), lorax: await lorax(), 'openai-compatible': services };
  const backends = Object.entries(kinds).map(([kind, { url }]) =>
    kind === 'openai-compatible' ? service(url, { name: kind }) : { name: kind, kind, url },
  );
  const all = await house(backends);
  await fill(services, all);
  for (const kind of Object.keys(kinds)) {
    const others = Object.keys(kinds).filter((other) => other !== kind);
    for (const other of others) await all.admin('POST', `/backends/${other}/drain`, { force: true });
    for (const step of [5, 40, 5]) {
      const name = `my-model@${step}`;
      const answer = await all.ask(name);
      expect(answer).toMatchObject({ status: 200, model: name });
      expect(answer.headers.get('x-stepgate-backend')).toBe(kind);
      expect(answer.text).toContain(await all.words(step));
      const { text, models } = await streamed(all, name);
      expect(text).toContain(await all.words(step));
      expect(models).toEqual([name]);
    }
    expect(await all.ask('base')).toMatchObject({ status: 200, model: 'base' });
    for (const other of others) await all.admin('DELETE', `/backends/${other}/drain`);
  }
  const { body } = await all.admin('GET', '/backends');
  expect((body as { data: object[] }).data).toMatchObject([
    { kind: 'vllm', slots: 2 },
    { kind: 'sglang', slots: 7 },
    { kind: 'lorax', slots: 1024 },
    { kind: 'openai-compatible', slots: null },
  ]);
});

test('SGLang that has forgotten its adapters loads again, and no request is answered by the base', async () => {
  const engine = await sglang({ metrics: false });
  const one = await house([{ name: 'gpu-0', kind: 'sglang', url: engine.url }]);
  await one.ask('my-model@5');
  await engine.restart();
  const answer = await one.ask('my-model@5');
  expect(answer).toMatchObject({ status: 200, model: 'my-model@5' });
  expect(answer.text).toContain(await one.words(5));
});

// Before 0.5.4 it took no adapter from behind the colon, and the base answered.
test('an older SGLang is told the adapter where it looks for it, and no request is answered by the base', async () => {
  const engine = await sglang({ age: 'unsplit' });
  const one = await house([{ name: 'gpu-0', kind: 'sglang', url: engine.url }]);
  for (const step of [5, 40]) expect((await one.ask(`my-model@${step}`)).text).toContain(await one.words(step));
  expect(await one.ask('base')).toMatchObject({ status: 200, text: 'base' });
});

// SGLang's /health is a generation that takes a second at least, and its /server_info asks the scheduler; LoRAX's /health asks the shard: in a long
// prefill, or while they load, all are late.
test.each([
  ['sglang', sglang, 'GET /v1/models', 'POST /load_lora_adapter'],
  ['lorax', lorax, 'GET /info', 'POST /generate'],
] as const)('%s in a long prefill is up, and keeps what it holds', async (kind, start, look, load) => {
  const engine = await start();
  const backends = [{ name: 'gpu-0', kind, url: engine.url }];
  const probe = { everyMs: 20, timeoutMs: 300 };
  const one = await setUp({ urls: [], latest: 'published', config: { backends, probe } });
  await one.write(5);
  expect((await one.ask('my-model@5')).status).toBe(200);
  engine.busy.isInPrefill = true;
  const looks = () => engine.asked.filter(({ route }) => route === look).length;
  const before = looks();
  await until(() => looks() > before + 4);
  expect(await one.ask('my-model@5')).toMatchObject({ status: 200, model: 'my-model@5' });
  expect(one.happenings.filter(({ type }) => type === 'backend')).toEqual([]);
  expect(engine.asked.filter(({ route }) => route === load)).toHaveLength(1);
});

test('SGLang whose base has a colon in its name is not used, and /ready says what to do', async () => {
  const engine = await sglang({ base: 'qwen:8b' });
  const one = await setUp({ urls: [], config: { backends: [{ name: 'gpu-0', kind: 'sglang', url: engine.url }] } });
  const ready = await fetch(`${one.running.url}/ready`);
  expect(ready.status).toBe(503);
  expect(await ready.text()).toMatch(/--served-model-name/);
});

test('a checkpoint without files goes to the service alone, never to an engine that could only answer with something else', async () => {
  const services = await hosted({ models: { 'run/000080': 'eighty' } });
  const engine = await vllm();
  const both = await house([{ name: 'gpu-0', url: engine.url }, service(services.url)]);
  const made = await both.admin('POST', '/models/my-model/checkpoints', { step: 80, hosted: true });
  expect(made).toMatchObject({
    status: 201,
    body: { name: 'my-model@80', hosted: true, readyOn: ['service'], bytes: null },
  });
  for (let times = 0; times < 3; times++) {
    const answer = await both.ask('my-model@80');
    expect(answer).toMatchObject({ status: 200, model: 'my-model@80', text: 'eighty' });
    expect(answer.headers.get('x-stepgate-backend')).toBe('service');
  }
  const again = await both.restart();
  expect(await again.ask('my-model@80')).toMatchObject({ status: 200, text: 'eighty' });
  expect((await again.admin('DELETE', '/models/my-model/checkpoints/80')).status).toBe(200);
  expect(await again.ask('my-model@80')).toMatchObject({ status: 410 });
});

test('a service beside vLLM: both answer the same step, and a route that only vLLM has goes there, loaded or not', async () => {
  const services = await hosted();
  const engine = await vllm();
  const both = await house([{ name: 'gpu-0', url: engine.url }, service(services.url)]);
  await fill(services, both);
  await both.admin('POST', '/backends/gpu-0/drain', { force: true });
  expect((await both.ask('my-model@5')).headers.get('x-stepgate-backend')).toBe('service');
  await both.admin('DELETE', '/backends/gpu-0/drain');
  const tokens = await both.post('/tokenize', { model: 'my-model@5', prompt: 'hi' });
  expect([tokens.status, tokens.headers.get('x-stepgate-backend')]).toEqual([200, 'gpu-0']);
  for (let times = 0; times < 4; times++) expect((await both.ask('my-model@5')).text).toContain(await both.words(5));
});

test('a route that no engine of the model has is refused, and the refusal names those that have it', async () => {
  const services = await hosted({ models: { 'run/000080': 'eighty' } });
  const engine = await vllm();
  const both = await house([{ name: 'gpu-0', url: engine.url }, service(services.url)]);
  await both.admin('POST', '/models/my-model/checkpoints', { step: 80, hosted: true });
  const refused = await both.post('/v1/responses', { model: 'my-model@80', input: 'hi' });
  expect(refused.status).toBe(404);
  expect(await refused.json()).toMatchObject({
    error: { code: 'route_not_served', message: expect.stringMatching(/\/v1\/responses.*service.*gpu-0 would/) },
  });
});

test('a name that the service does not know is an error that says which, and never another step', async () => {
  const services = await hosted({ models: { 'run/000005': 'five' } });
  const one = await house([service(services.url)]);
  expect(await one.ask('my-model@40')).toMatchObject({
    status: 422,
    code: 'checkpoint_not_servable',
    message: expect.stringMatching(/no model "run\/000040".*does not exist/),
  });
  expect(await one.ask('my-model@5')).toMatchObject({ status: 200, text: 'five', model: 'my-model@5' });
});

// A checkpoint that is there was out of use for all, because one caller had asked for it on a route that it does not take.
test('a 404 that is about the route is its caller’s to read, and the step is served on', async () => {
  const services = await hosted({ models: { 'run/000005': 'five' }, chatAlone: true });
  const one = await house([service(services.url)]);
  const body = { model: 'my-model@5', prompt: 'hi', input: 'hi' };
  for (const [path, words] of [
    ['/v1/completions', 'not supported in the v1/completions endpoint'],
    ['/v1/embeddings', 'Not Found'],
  ] as const) {
    const refused = await one.post(path, body);
    expect([refused.status, await refused.text()]).toEqual([404, expect.stringContaining(words)]);
  }
  expect(await one.ask('my-model@5')).toMatchObject({ status: 200, text: 'five', model: 'my-model@5' });
});

test('a name that the service does not know is asked of the engine that has its files', async () => {
  const services = await hosted();
  const engine = await vllm();
  const both = await house([service(services.url, { name: 'a-service' }), { name: 'gpu-0', url: engine.url }]);
  const answer = await both.ask('my-model@5');
  expect(services.asked.filter(({ route }) => route === 'POST /v1/chat/completions')).toHaveLength(1);
  expect(answer).toMatchObject({ status: 200, model: 'my-model@5' });
  expect(answer.headers.get('x-stepgate-backend')).toBe('gpu-0');
  expect(answer.text).toContain(await both.words(5));
});

test('a name that two services do not know is the same error as with one', async () => {
  const [first, second] = [await hosted(), await hosted()];
  const two = await house([service(first.url, { name: 'first' }), service(second.url, { name: 'second' })]);
  expect(await two.ask('my-model@40')).toMatchObject({
    status: 422,
    code: 'checkpoint_not_servable',
    message: expect.stringMatching(/no model "run\/000040".*does not exist/),
  });
});

// Nothing is loaded into a service, so that no adapter can be what it died of.
test('a service that ends in the middle of an answer makes no adapter a suspect', async () => {
  const services = await hosted({ models: { 'run/000005': 'never' } });
  const engine = await vllm();
  const both = await house([{ name: 'gpu-0', url: engine.url }, service(services.url)]);
  await both.admin('POST', '/backends/gpu-0/drain', { force: true });
  const stream = await both.post('/v1/chat/completions', { model: 'my-model@5', messages: [], stream: true });
  await services.die();
  expect(await stream.text()).toContain('backend_error');
  await until(() => both.happenings.some((one) => one.type === 'backend' && one.state === 'down'));
  await both.admin('DELETE', '/backends/gpu-0/drain');
  expect(await both.ask('my-model@5')).toMatchObject({ status: 200, model: 'my-model@5' });
});

test.each<[string, HostedOptions, object, RegExp]>([
  ['asks for a key', { key: 'secret' }, {}, /asks for an API key.*keyFile/],
  ['has no list of models', { listless: true }, {}, /`health` to .*none/],
])('a service that %s is not up, and /ready says what to do', async (_, options, more, about) => {
  const services = await hosted(options);
  const one = await setUp({ urls: [], config: { backends: [service(services.url, more)] } });
  const ready = await fetch(`${one.running.url}/ready`);
  expect(ready.status).toBe(503);
  expect(await ready.text()).toMatch(about);
});

test('a service is shown its key, and one without a list is taken to be there', async () => {
  const services = await hosted({ key: 'secret', listless: true, models: { 'run/000005': 'five' } });
  const one = await setUp({ urls: [], config: { backends: [] } });
  const keyFile = join(one.home, 'key');
  await writeFile(keyFile, 'secret\n');
  await one.reload({ backends: [service(services.url, { health: 'none', keyFile })] });
  await one.write(5);
  expect(await one.ask('my-model@5')).toMatchObject({ status: 200, text: 'five' });
});

test('what nobody would serve is not registered: no service names its model, or its files are here', async () => {
  const services = await hosted();
  const one = await house([service(services.url)]);
  expect(await one.admin('POST', '/checkpoints', { name: 'other@1', hosted: true })).toMatchObject({
    status: 422,
    body: { error: { message: expect.stringMatching(/no backend of the config has other under its `models`/) } },
  });
  expect((await one.admin('POST', '/checkpoints', { name: 'my-model@5', hosted: true })).status).toBe(409);
  expect((await one.admin('POST', '/checkpoints', { name: 'my-model@7' })).status).toBe(400);
  expect((await one.admin('POST', '/checkpoints', { name: 'my-model@7', path: '/x', hosted: true })).status).toBe(400);
  const twice = [];
  for (let times = 0; times < 2; times++)
    twice.push((await one.admin('POST', '/checkpoints', { name: 'my-model@7', hosted: true })).body);
  expect(twice[0]).toEqual(twice[1]);
});

test('a service that is gone, and is not asked whether it is there: each request is told so, and the next one tries again', async () => {
  const services = await hosted({ models: { 'run/000005': 'five' } });
  const one = await house([service(services.url, { health: 'none' })]);
  expect((await one.ask('my-model@5')).status).toBe(200);
  await services.die();
  for (let times = 0; times < 2; times++)
    expect(await one.ask('my-model@5')).toMatchObject({ status: 503, code: 'backend_unavailable' });
});
