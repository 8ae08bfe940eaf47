// Promise: a deployment answers predictions by its step, its template and its defaults, in its callers' shape; whatever is wrong is said in it too.
import { describe, expect, test } from 'vitest';
import { openWithStep } from '../faults/faulty.ts';
import { until, weightsOf } from '../gateway/harness.ts';
import { houseWith, predict, refusal, sent } from './house.ts';

describe('a prediction', () => {
  test('is answered by its step, with the defaults in the engine’s terms', async () => {
    const generation = { max_new_tokens: 4, temperature: 0.2, top_k: 0, stop_strings: 'END', do_sample: true };
    const house = await houseWith({ generation });
    const { status, body, headers } = await predict(house, 'support');
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
    expect((await predict(house, 'support', { body: { request } })).status).toBe(200);
    expect(sent(house).body).toEqual({
      model: 'my-model@5',
      prompt: '7\nQ: Why {system}?\nA: {',
      temperature: 0.7,
      top_p: 0.9,
      max_tokens: 3,
    });
  });

  test('of which the template makes more than a body may have is refused, whatever its body has', async () => {
    const house = await houseWith({ template: '{prompt}'.repeat(2_000) });
    const asked = await predict(house, 'support', { body: { request: { prompt: 'x'.repeat(1_000_000) } } });
    expect(asked.status).toBe(413);
    expect(asked.body).toMatchObject({
      success: false,
      errors: [{ message: expect.stringContaining('limits.bodyBytesMax') }],
    });
    expect((await predict(house, 'support')).status).toBe(200);
  });

  test('is a chat where the deployment says so', async () => {
    const house = await houseWith({ chat: true, template: 'Say: {prompt}', generation: { max_new_tokens: 3 } });
    const { body } = await predict(house, 'support');
    expect(body.response).toMatchObject({ text: expect.stringMatching(/\w/), model: 'my-model@5' });
    expect(sent(house)).toMatchObject({ path: '/v1/chat/completions' });
    expect(sent(house).body).toEqual({
      model: 'my-model@5',
      messages: [{ role: 'user', content: 'Say: Hello' }],
      max_tokens: 3,
    });
  });

  test('whose caller says no type of its body, or one of JSON’s others, is JSON to the engine', async () => {
    const house = await houseWith();
    const body = new Blob([JSON.stringify({ request: { prompt: 'Hello' } })]);
    const url = `${house.running.url}/v1/deployments/support/predict`;
    for (const headers of [{}, { 'content-type': 'application/vnd.api+json' }]) {
      expect((await fetch(url, { method: 'POST', headers, body })).status).toBe(200);
      expect(sent(house).headers['content-type']).toBe('application/json');
    }
  });

  test('of a base alone needs no adapter', async () => {
    const house = await houseWith();
    expect((await house.admin('PUT', '/deployments/plain', { target: 'base' })).status).toBe(200);
    expect((await predict(house, 'plain')).body.response?.model).toBe('base');
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
    ['{"request":{"prompt":1234567890123456789}}', 400, 'invalid_request', 'as a text, in quotes'],
    ['{"request":{"prompt":1e400}}', 400, 'invalid_request', 'as a text, in quotes'],
    [{ request: 'x' }, 400, 'invalid_request', '{"request": {"prompt": "Hello"}}'],
    [{ prompt: 'x' }, 400, 'invalid_request', '{"request": {"prompt": "Hello"}}'],
    [{}, 400, 'invalid_request', '`request`'],
    ['[1]', 400, 'invalid_json', 'not an object'],
    ['{"request"', 400, 'invalid_json', 'ends too early'],
    ['{"request":{"__proto__":{"prompt":"x"}}}', 400, 'invalid_request', 'no "prompt"'],
  ])('of %j is %i %s: %s', async (body, status, code, words) => {
    const house = await houseWith();
    expect(refusal(await predict(house, 'support', { body }))).toEqual([status, code, expect.stringContaining(words)]);
  });

  test('that is too large, in another type, of no deployment, by another method: each in its words', async () => {
    const house = await houseWith();
    await house.reload({ limits: { bodyBytesMax: 2000 } });
    const large = { request: { prompt: 'x'.repeat(3000) } };
    expect(refusal(await predict(house, 'support', { body: large })).slice(0, 2)).toEqual([413, 'body_too_large']);
    const type = await predict(house, 'support', { headers: { 'content-type': 'text/plain' } });
    expect(refusal(type).slice(0, 2)).toEqual([415, 'unsupported_media_type']);
    const unknown = await predict(house, 'suport');
    expect(refusal(unknown)).toEqual([404, 'deployment_not_found', expect.stringContaining('Known: support')]);
    expect((await fetch(`${house.running.url}/v1/deployments/support/predict`)).status).toBe(405);
  });

  test('says what became of its target, and goes on when it leads elsewhere', async () => {
    const house = await houseWith({ target: 'my-model' });
    await house.write(10);
    for (const step of [5, 10])
      expect((await house.admin('DELETE', `/models/my-model/checkpoints/${step}`)).status).toBe(200);
    const words = /^The deployment "support" leads to "my-model".*No step of "my-model" can be served/;
    expect(refusal(await predict(house, 'support'))).toEqual([404, 'model_not_found', expect.stringMatching(words)]);
    expect((await house.admin('GET', '/deployments/support')).body).toMatchObject({
      leadsTo: null,
      problem: expect.stringMatching(words),
    });
    await house.admin('PATCH', '/deployments/support', { target: 'base' });
    const after = await predict(house, 'support');
    expect([after.body.response?.model, after.headers.get('x-stepgate-build')]).toEqual(['base', '2']);
  });
});

describe('an engine', () => {
  test('that refuses is passed on with its status, in the callers’ shape', async () => {
    const house = await houseWith();
    const { status, body } = await predict(house, 'support', {
      body: { request: { prompt: 'x', max_new_tokens: 10_000_000 } },
    });
    expect([status, body.success]).toEqual([400, false]);
    expect(body.errors).toEqual([{ code: expect.any(String), message: expect.stringContaining('max') }]);
  });

  const raw = (status: string, body: string, length = body.length) =>
    `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n${body}`;

  test.each([
    ['no JSON', raw('200 OK', '<html>'), 'it is not JSON'],
    ['no choices', raw('200 OK', '{"object":"text_completion"}'), 'there is no text in it'],
    ['choices without text', raw('200 OK', '{"choices":[{"index":0}]}'), 'there is no text in it'],
    ['null', raw('200 OK', 'null'), 'there is no text in it'],
    ['half an answer', raw('200 OK', '{"choices":[{"text":"half', 1_000), 'broke off'],
    ['an answer without an end', raw('200 OK', 'x'.repeat(17 * 1024 * 1024)), 'it is over 16777216 bytes'],
    ['an error under a 200', raw('200 OK', '{"error":{"message":"oops"}}'), 'there is no text in it'],
  ])('that answers %s: 502, no success, and the next one is answered', async (_, answer, words) => {
    const house = await openWithStep();
    await house.admin('PUT', '/deployments/support', { target: 'my-model@5' });
    house.engine.does('inference', (socket) => void socket.end(answer));
    expect(refusal(await predict(house, 'support'))).toEqual([502, 'backend_error', expect.stringContaining(words)]);
    house.engine.does('inference', (socket) => {
      socket.end(raw('200 OK', '{"choices":[{"text":"whole"}],"usage":{"total_tokens":3}}'));
    });
    expect((await predict(house, 'support')).body).toEqual({
      success: true,
      response: { text: 'whole', model: 'my-model@5', usage: { total_tokens: 3 } },
    });
  });

  const LORAX = '{"error":"`temperature` must be strictly positive","error_type":"validation"}';
  test.each([
    [
      'flat',
      '400 Bad Request',
      '{"object":"error","message":"top_k is too large","type":"BadRequestError"}',
      'top_k is too large',
    ],
    ['as a text', '422 Unprocessable Entity', LORAX, '`temperature` must be strictly positive'],
    [
      'FastAPI’s',
      '422 Unprocessable Entity',
      '{"detail":"no such field"}',
      'The engine answered 422: {"detail":"no such field"}',
    ],
    [
      'plain words',
      '500 Internal Server Error',
      'Internal Server Error',
      'The engine answered 500: Internal Server Error',
    ],
  ])(
    'whose error is %s is passed on with its status and its words, and is not taken for broken',
    async (_, status, body, words) => {
      const house = await openWithStep();
      await house.admin('PUT', '/deployments/support', { target: 'my-model@5' });
      const answer = raw(status, body).replace('application/json', 'text/plain');
      house.engine.does('inference', (socket) => void socket.end(answer));
      const predicted = await predict(house, 'support');
      expect(refusal(predicted)).toEqual([Number.parseInt(status, 10), expect.any(String), words]);
      expect(predicted.headers.get('content-type')).toMatch(/^application\/json/);
      expect(await (await fetch(`${house.running.url}/metrics`)).text()).toMatch(
        /route="[^"]*predict"[^}]*code="engine_[45]xx"/,
      );
    },
  );

  test('that forgot the adapter loads it again, and nobody notices', async () => {
    const house = await houseWith();
    await predict(house, 'support');
    house.sims[0]?.forget('my-model@5');
    const answer = await predict(house, 'support');
    expect([answer.status, answer.body.response?.model]).toEqual([200, 'my-model@5']);
  });

  test('that is gone is 503', async () => {
    const house = await houseWith();
    await house.sims[0]?.close();
    await until(() => house.happenings.some((one) => one.type === 'backend' && one.state === 'down'));
    const answer = await predict(house, 'support');
    expect(refusal(answer).slice(0, 2)).toEqual([503, 'backend_unavailable']);
    expect(answer.headers.get('retry-after')).not.toBeNull();
  });
});
