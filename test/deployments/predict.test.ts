// Promise: a deployment answers predictions by its step, its template and its defaults, in its callers' shape; whatever is wrong is said in it too.
import { describe, expect, test } from 'vitest';
import { type House, setUp, until, weightsOf } from '../gateway/harness.ts';

interface Predicted {
  readonly status: number;
  readonly body: {
    readonly success: boolean;
    readonly response?: {
      readonly text: string;
      readonly model: string;
      readonly usage: { completion_tokens: number };
    };
    readonly errors?: readonly { readonly code: string; readonly message: string }[];
  };
  readonly headers: Headers;
}

async function predict(
  house: House,
  name: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Predicted> {
  const response = await house.post(`/v1/deployments/${name}/predict`, body, headers);
  return { status: response.status, body: (await response.json()) as Predicted['body'], headers: response.headers };
}

/** What the engine was sent last. */
const sent = ({ sims }: House) => {
  const { path, body = '{}', headers } = sims[0]?.seen() ?? {};
  return { path, headers, body: JSON.parse(body) as Record<string, unknown> };
};

const refusal = ({ status, body }: Predicted) => [status, body.errors?.[0]?.code, body.errors?.[0]?.message];

async function houseWith(wish: Record<string, unknown> = {}): Promise<House> {
  const house = await setUp({ latest: 'published' });
  await house.write(5);
  const made = await house.admin('PUT', '/deployments/support', { target: 'my-model@5', ...wish });
  expect(made.status).toBe(200);
  return house;
}

describe('a prediction', () => {
  test('is answered by its step, with the defaults in the engine’s terms', async () => {
    const generation = { max_new_tokens: 4, temperature: 0.2, top_k: 0, stop_strings: 'END', do_sample: true };
    const house = await houseWith({ generation });
    const { status, body, headers } = await predict(house, 'support', { request: { prompt: 'Hello' } });
    expect([status, body.success]).toEqual([200, true]);
    expect(Object.keys(body.response ?? {})).toEqual(['text', 'model', 'usage']);
    expect(body.response).toMatchObject({ model: 'my-model@5', usage: { completion_tokens: 4 } });
    expect(body.response?.text).toContain(await weightsOf(`${house.runs}/checkpoint-5`));
    expect(headers.get('content-type')).toMatch(/^application\/json/);
    expect(headers.get('x-stepgate-model')).toBe('my-model@5');
    expect(headers.get('x-stepgate-build')).toBe('1');
    expect(sent(house)).toMatchObject({ path: '/v1/completions' });
    expect(sent(house).body).toEqual({
      model: 'my-model@5',
      prompt: 'Hello',
      max_tokens: 4,
      temperature: 0.2,
      top_k: -1,
      stop: ['END'],
    });
    const metrics = await (await fetch(`${house.running.url}/metrics`)).text();
    expect(metrics).toMatch(/route="\/v1\/deployments\/\{name\}\/predict"/);
  });

  test('may say its own parameters, which win, and fills the template', async () => {
    const template = '{system}\nQ: {prompt}\nA: {{';
    const house = await houseWith({ generation: { temperature: 0.2, top_p: 0.9 }, template });
    const request = { prompt: 'Why {system}?', system: 7, temperature: 0.7, max_new_tokens: 3 };
    expect((await predict(house, 'support', { request })).status).toBe(200);
    expect(sent(house).body).toEqual({
      model: 'my-model@5',
      prompt: '7\nQ: Why {system}?\nA: {',
      temperature: 0.7,
      top_p: 0.9,
      max_tokens: 3,
    });
  });

  test('is a chat where the deployment says so', async () => {
    const house = await houseWith({ chat: true, template: 'Say: {prompt}', generation: { max_new_tokens: 3 } });
    const { body } = await predict(house, 'support', { request: { prompt: 'Hello' } });
    expect(body.response).toMatchObject({ text: expect.stringMatching(/\w/), model: 'my-model@5' });
    expect(sent(house)).toMatchObject({ path: '/v1/chat/completions' });
    expect(sent(house).body).toEqual({
      model: 'my-model@5',
      messages: [{ role: 'user', content: 'Say: Hello' }],
      max_tokens: 3,
    });
  });

  test('of a base alone needs no adapter', async () => {
    const house = await houseWith();
    expect((await house.admin('PUT', '/deployments/plain', { target: 'base' })).status).toBe(200);
    expect((await predict(house, 'plain', { request: { prompt: 'Hi' } })).body.response?.model).toBe('base');
  });

  test.each([
    [
      { request: { prompt: 'x', temperature: 'hot' } },
      400,
      'invalid_request',
      '`request.temperature` must be a number',
    ],
    [{ request: { prompt: 'x', max_tokens: 3 } }, 400, 'invalid_request', 'Nearest: max_new_tokens'],
    [{ request: { prompt: 'x', num_beams: 2 } }, 400, 'invalid_request', 'must be 1'],
    [{ request: {} }, 400, 'invalid_request', 'no "prompt"'],
    [{ request: { prompt: ['x'] } }, 400, 'invalid_request', '`request.prompt` must be a text'],
    [{ request: 'x' }, 400, 'invalid_request', '{"request": {"prompt": "Hello"}}'],
    [{ prompt: 'x' }, 400, 'invalid_request', '{"request": {"prompt": "Hello"}}'],
    [{}, 400, 'invalid_request', '`request`'],
    ['[1]', 400, 'invalid_json', 'not an object'],
    ['{"request"', 400, 'invalid_json', 'ends too early'],
    ['{"request":{"__proto__":{"prompt":"x"}}}', 400, 'invalid_request', 'no "prompt"'],
  ])('of %j is %i %s: %s', async (body, status, code, words) => {
    const house = await houseWith();
    expect(refusal(await predict(house, 'support', body))).toEqual([status, code, expect.stringContaining(words)]);
  });

  test('that is too large, in another type, of no deployment, by another method: each in its words', async () => {
    const house = await houseWith();
    await house.reload({ limits: { bodyBytesMax: 2000 } });
    const large = { request: { prompt: 'x'.repeat(3000) } };
    expect(refusal(await predict(house, 'support', large)).slice(0, 2)).toEqual([413, 'body_too_large']);
    const type = await predict(house, 'support', '{}', { 'content-type': 'text/plain' });
    expect(refusal(type).slice(0, 2)).toEqual([415, 'unsupported_media_type']);
    const unknown = await predict(house, 'suport', { request: { prompt: 'x' } });
    expect(refusal(unknown)).toEqual([404, 'deployment_not_found', expect.stringContaining('Known: support')]);
    expect((await fetch(`${house.running.url}/v1/deployments/support/predict`)).status).toBe(405);
  });

  test('says what became of its target, and goes on when it leads elsewhere', async () => {
    const house = await houseWith();
    await house.write(10);
    expect((await house.admin('DELETE', '/models/my-model/checkpoints/5')).status).toBe(200);
    const gone = refusal(await predict(house, 'support', { request: { prompt: 'x' } }));
    expect(gone).toEqual([
      410,
      'checkpoint_deleted',
      expect.stringMatching(/^The deployment "support" leads to "my-model@5"/),
    ]);
    expect((await house.admin('GET', '/deployments/support')).body).toMatchObject({
      leadsTo: null,
      problem: expect.stringContaining('was deleted'),
    });
    await house.admin('PATCH', '/deployments/support', { target: 'my-model@10' });
    const after = await predict(house, 'support', { request: { prompt: 'x' } });
    expect([after.body.response?.model, after.headers.get('x-stepgate-build')]).toEqual(['my-model@10', '2']);
  });
});

describe('an engine', () => {
  test('that refuses is passed on with its status, in the callers’ shape', async () => {
    const house = await houseWith();
    const { status, body } = await predict(house, 'support', { request: { prompt: 'x', max_new_tokens: 10_000_000 } });
    expect([status, body.success]).toEqual([400, false]);
    expect(body.errors).toEqual([{ code: expect.any(String), message: expect.stringContaining('max') }]);
  });

  test('that is gone is 503', async () => {
    const house = await houseWith();
    await house.sims[0]?.close();
    await until(() => house.happenings.some((one) => one.type === 'backend' && one.state === 'down'));
    const answer = await predict(house, 'support', { request: { prompt: 'x' } });
    expect(refusal(answer).slice(0, 2)).toEqual([503, 'backend_unavailable']);
    expect(answer.headers.get('retry-after')).not.toBeNull();
  });
});
