// Promise: OpenAI's clients ask a deployment by its name as any model; its defaults stand where they are silent, and nowhere else.
import { describe, expect, test } from 'vitest';
import { setUp } from '../gateway/harness.ts';
import { houseWith, sent } from './house.ts';

const messages = [{ role: 'user' as const, content: 'hi' }];

test('the SDK is answered by the step, which it is told; what it says itself wins over the defaults', async () => {
  const generation = { max_new_tokens: 4, temperature: 0.2, top_p: 0.9, stop: ['END'] };
  const house = await houseWith({ generation, template: 'ignored here: {prompt}' });
  const answer = await house.openai.chat.completions
    .create({ model: 'support', messages, temperature: 0.7 })
    .withResponse();
  expect([answer.data.model, answer.data.usage?.completion_tokens]).toEqual(['my-model@5', 4]);
  expect(answer.response.headers.get('x-stepgate-build')).toBe('1');
  expect(sent(house).body).toEqual({
    model: 'my-model@5',
    messages,
    temperature: 0.7,
    max_tokens: 4,
    top_p: 0.9,
    stop: ['END'],
  });

  const streamed = await house.openai.completions.create({ model: 'support', prompt: 'hi', stream: true, stop: 'X' });
  const models = new Set<string>();
  for await (const chunk of streamed) models.add(chunk.model);
  expect([...models]).toEqual(['my-model@5']);
  expect(sent(house).body).toEqual({
    model: 'my-model@5',
    prompt: 'hi',
    stream: true,
    stop: 'X',
    max_tokens: 4,
    temperature: 0.2,
    top_p: 0.9,
  });

  await house.openai.chat.completions.create({ model: 'support', messages, max_completion_tokens: 2 });
  expect(sent(house).body).not.toHaveProperty('max_tokens');
});

test('a route without such parameters gets none, and a model asked by its own name gets none', async () => {
  const house = await houseWith({ generation: { max_new_tokens: 4, temperature: 0.2 } });
  const embedded = await house.post('/v1/embeddings', { model: 'support', input: 'hi' });
  expect([embedded.status, embedded.headers.get('x-stepgate-model')]).toEqual([200, 'my-model@5']);
  expect(Object.keys(sent(house).body)).toEqual(['model', 'input']);
  const plain = await house.ask('my-model@5');
  expect([plain.status, plain.headers.has('x-stepgate-build')]).toEqual([200, false]);
  expect(Object.keys(sent(house).body)).toEqual(['model', 'messages']);
});

test('it is listed with what it leads to, and not while it leads nowhere', async () => {
  const house = await houseWith({ target: 'my-model' });
  const { data } = await house.openai.models.list();
  expect(data.map(({ id }) => id)).toEqual(['base', 'my-model@5', 'support']);
  const card = { id: 'support', root: 'my-model@5', parent: 'base', step: 5, max_model_len: expect.any(Number) };
  expect(data[2]).toMatchObject(card);
  expect(await house.openai.models.retrieve('support')).toMatchObject(card);
  await house.admin('DELETE', '/models/my-model/checkpoints/5');
  expect((await house.openai.models.list()).data.map(({ id }) => id)).toEqual(['base']);
  expect(await house.ask('support')).toMatchObject({ status: 404, code: 'model_not_found' });
});

describe('a name', () => {
  test.each([
    'my-model',
    'my-model@5',
    'my-model-v5',
    'my-model-v7',
    'base',
    'text',
    '',
    ' x',
    'a/b',
    '-x',
    'x'.repeat(101),
  ])('%j can be no deployment’s', async (name) => {
    const house = await setUp({ latest: 'published' });
    await house.write(5);
    const made = await house.admin('PUT', `/deployments/${encodeURIComponent(name) || '%20'}`, { target: 'base' });
    expect([400, 409]).toContain(made.status);
    expect((await house.openai.models.list()).data.map(({ id }) => id)).toEqual(['base', 'my-model@5']);
  });

  test('that is a deployment’s can be no checkpoint’s, and no deployment’s target', async () => {
    const house = await houseWith();
    const path = `${house.runs}/checkpoint-5`;
    for (const name of ['support', 'support@5'])
      expect(await house.admin('POST', '/checkpoints', { name, path })).toMatchObject({
        status: 409,
        body: { error: { code: 'conflict', message: expect.stringContaining('is a deployment') } },
      });
    expect(await house.admin('PUT', '/deployments/other', { target: 'support' })).toMatchObject({
      status: 400,
      body: { error: { message: expect.stringContaining('is a deployment itself') } },
    });
    expect(await house.ask('support@5')).toMatchObject({ status: 404, code: 'model_not_found' });
  });

  test('that the config gives to a model later means neither, until one has another name', async () => {
    const house = await houseWith();
    await house.reload({ models: { support: { latest: 'published' }, 'my-model': { watch: house.runs } } });
    expect(await house.ask('support')).toMatchObject({ status: 409, code: 'conflict' });
    await house.admin('DELETE', '/deployments/support');
    expect(await house.ask('support')).toMatchObject({ status: 404 });
  });
});
