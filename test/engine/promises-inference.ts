// Promises about the routes that take a model: names, shapes of answers and streams, refusals, and callers who leave.
import { beforeAll, describe, expect, test } from 'vitest';
import { asked, type EngineClient, poll } from './client.ts';
import type { Given } from './conformance.ts';

const CHAT = '/v1/chat/completions';
const COMPLETIONS = '/v1/completions';
const messages = [{ role: 'user', content: 'hello world' }];

export function inferencePromises(given: Given): void {
  describe('answers', () => {
    let model = '';
    beforeAll(async () => {
      model = given.name();
      await given.client().load(model, given.adapter(0));
    });
    namePromises(given, () => model);
    answerPromises(given, () => model);
    streamPromises(given, () => model);
    leavingPromises(given, () => model);
  });
}

function namePromises({ engine, client }: Given, model: () => string): void {
  test.each([
    { path: CHAT, body: { messages, max_tokens: 2 } },
    { path: COMPLETIONS, body: { prompt: 'hello', max_tokens: 2 } },
    { path: '/v1/responses', body: { input: 'hello', max_output_tokens: 2 } },
    { path: '/v1/messages', body: { messages, max_tokens: 2 } },
  ])('the answer echoes the name that was asked for: $path', async ({ path, body }) => {
    for (const name of [model(), engine().base]) {
      const { status, text } = await client().post(path, { ...body, model: name });
      expect({ status, model: JSON.parse(text).model }).toEqual({ status: 200, model: name });
    }
  });

  test.each([{}, { model: null }, { model: '' }])('without a name the base answers: %j', async (named) => {
    const { text } = await client().post(CHAT, { messages, max_tokens: 2, ...named });
    expect(JSON.parse(text).model).toBe(engine().base);
  });

  test.each([
    { path: CHAT, body: { messages } },
    { path: CHAT, body: { messages, stream: true } },
    { path: COMPLETIONS, body: { prompt: 'hello' } },
    { path: '/v1/responses', body: { input: 'hello' } },
    { path: '/tokenize', body: { prompt: 'hello' } },
    { path: '/detokenize', body: { tokens: [5] } },
  ])('an unknown name is 404, as JSON even where a stream was wanted: $path $body.stream', async ({ path, body }) => {
    const { status, type, text } = await client().post(path, { ...body, model: 'nobody@5' });
    expect({ status, type }).toEqual({ status: 404, type: 'application/json' });
    expect(JSON.parse(text)).toEqual({
      error: {
        message: `The model \`nobody@5\` does not exist. Valid aliases: ${engine().base}.`,
        type: 'NotFoundError',
        param: 'model',
        code: 404,
      },
    });
  });

  test("on Anthropic's route an unknown name has its shape, and a missing one is refused", async () => {
    const unknown = await client().post('/v1/messages', { model: 'nobody@5', messages, max_tokens: 2 });
    expect({ status: unknown.status, body: JSON.parse(unknown.text) }).toEqual({
      status: 404,
      body: {
        type: 'error',
        error: {
          type: 'NotFoundError',
          message: `The model \`nobody@5\` does not exist. Valid aliases: ${engine().base}.`,
        },
      },
    });
    const missing = await client().post('/v1/messages', { messages, max_tokens: 2 });
    expect({ status: missing.status, error: JSON.parse(missing.text).error }).toMatchObject({
      status: 400,
      error: { type: 'Bad Request', param: 'body.model' },
    });
  });

  test.each([
    { what: 'a name that is no string', body: { model: 5, messages }, type: 'Bad Request', param: 'body.model' },
    { what: 'no messages', body: {}, type: 'Bad Request', param: 'body.messages' },
    {
      what: 'more tokens than the model has',
      body: { messages, max_tokens: 9_999_999 },
      type: 'BadRequestError',
      param: 'max_tokens',
    },
  ])('a body with $what is 400', async ({ body, type, param }) => {
    const { status, text } = await client().post(CHAT, body);
    expect({ status, error: JSON.parse(text).error }).toMatchObject({ status: 400, error: { type, param, code: 400 } });
  });
}

function answerPromises({ client }: Given, model: () => string): void {
  test('a chat answer', async () => {
    const { text } = await client().post(CHAT, { model: model(), messages, max_tokens: 4, ignore_eos: true });
    const body = JSON.parse(text);
    expect(body).toMatchObject({
      id: expect.stringMatching(/^chatcmpl-/),
      object: 'chat.completion',
      created: expect.any(Number),
      choices: [{ index: 0, message: { role: 'assistant', content: expect.any(String) }, finish_reason: 'length' }],
      usage: { completion_tokens: 4, prompt_tokens_details: null },
    });
    expect(body.usage.total_tokens).toBe(body.usage.prompt_tokens + 4);
  });

  test("the request id becomes part of the answer's", async () => {
    const body = { model: model(), messages, max_tokens: 1 };
    const { text } = await client().post(CHAT, body, { 'x-request-id': 'mine-7' });
    expect(JSON.parse(text).id).toBe('chatcmpl-mine-7');
  });

  test.each([
    { prompt: 'hello world', n: 1, choices: 1 },
    { prompt: ['hello', 'world'], n: 1, choices: 2 },
    { prompt: [5, 6, 7], n: 1, choices: 1 },
    { prompt: [[5, 6, 7], [8]], n: 2, choices: 4 },
  ])('a completion of $prompt, $n for each', async ({ prompt, n, choices }) => {
    const asking = { model: model(), prompt, n, max_tokens: 3, ignore_eos: true, return_token_ids: true };
    const body = JSON.parse((await client().post(COMPLETIONS, asking)).text);
    expect(body.choices.map(({ index }: { index: number }) => index)).toEqual([...Array(choices).keys()]);
    for (const choice of body.choices) expect(choice.token_ids).toHaveLength(3);
    expect(body.usage.completion_tokens).toBe(3 * choices);
  });

  test('echo with logprobs scores the prompt, as evaluation harnesses ask', async () => {
    const asking = { model: model(), prompt: [75, 72, 79], max_tokens: 1, echo: true, logprobs: 1 };
    const { logprobs } = JSON.parse((await client().post(COMPLETIONS, asking)).text).choices[0];
    expect(logprobs.token_logprobs).toEqual([null, expect.any(Number), expect.any(Number), expect.any(Number)]);
    expect(logprobs.top_logprobs).toHaveLength(4);
    expect(logprobs.tokens).toHaveLength(4);
  });

  test.each([{ prompt: '' }, {}])('a completion of nothing is 400: %j', async (body) => {
    const { status, text } = await client().post(COMPLETIONS, { model: model(), ...body });
    expect({ status, error: JSON.parse(text).error }).toMatchObject({ status: 400, error: { param: 'prompt' } });
  });

  test('text comes back from its tokens, and no model is needed for either', async () => {
    const { tokens, count } = JSON.parse((await client().post('/tokenize', { prompt: 'hello world' })).text);
    expect(tokens).toHaveLength(count);
    expect(JSON.parse((await client().post('/detokenize', { tokens })).text)).toEqual({ prompt: 'hello world' });
    const counted = await client().post('/v1/messages/count_tokens', { model: model(), messages });
    expect(JSON.parse(counted.text)).toMatchObject({ input_tokens: expect.any(Number) });
  });
}

function streamPromises({ client }: Given, model: () => string): void {
  test('a chat stream: the role first, a chunk per token, the usage where asked, then [DONE]', async () => {
    const body = { model: model(), messages, max_tokens: 4, ignore_eos: true, stream_options: { include_usage: true } };
    const stream = await client().stream(CHAT, body);
    expect(stream).toMatchObject({ status: 200, type: 'text/event-stream; charset=utf-8' });
    const data = await stream.end();
    expect(data.pop()).toBe('[DONE]');
    const chunks = data.map((line) => JSON.parse(line));
    expect(chunks.at(0).choices[0].delta).toEqual({ role: 'assistant', content: '' });
    expect(chunks.at(-2).choices[0].finish_reason).toBe('length');
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 4 } });
    for (const chunk of chunks) expect(chunk).toMatchObject({ object: 'chat.completion.chunk', model: model() });
    for (const chunk of chunks.slice(0, -1)) expect(chunk.usage).toBeUndefined();
  });

  test('a completion stream tells the same ids as the whole answer', async () => {
    const stream = await client().stream(COMPLETIONS, { ...asked(model(), 6), return_token_ids: true });
    const data = await stream.end();
    expect(data.pop()).toBe('[DONE]');
    const ids = data.flatMap((line) => JSON.parse(line).choices[0].token_ids);
    expect(ids).toEqual(await client().tokenIds(model(), 6));
  });

  test.each([
    {
      path: '/v1/responses',
      body: { input: 'hello', max_output_tokens: 4 },
      first: ['response.created', 'response.in_progress', 'response.output_item.added', 'response.content_part.added'],
      last: [
        'response.output_text.done',
        'response.content_part.done',
        'response.output_item.done',
        'response.completed',
      ],
    },
    {
      path: '/v1/messages',
      body: { messages, max_tokens: 4 },
      first: ['message_start', 'content_block_start', 'content_block_delta'],
      last: ['content_block_delta', 'content_block_stop', 'message_delta', 'message_stop'],
    },
  ])('$path streams named events and no [DONE]', async ({ path, body, first, last }) => {
    const stream = await client().stream(path, { ...body, model: model(), temperature: 0 });
    const data = await stream.end();
    expect(stream.events.slice(0, first.length)).toEqual(first);
    expect(stream.events.slice(-last.length)).toEqual(last);
    expect(data.map((line) => JSON.parse(line).type)).toEqual(stream.events);
    const [start] = data.map((line) => JSON.parse(line));
    expect((start.response ?? start.message).model).toBe(model());
  });
}

function leavingPromises({ client }: Given, model: () => string): void {
  test('a caller who leaves a stream ends its request', async () => {
    const stream = await client().longStream(model(), 900);
    await stream.until(2);
    stream.leave();
    await idle(client());
  });

  test('so does one who leaves before a whole answer', async () => {
    const leaving = new AbortController();
    const body = JSON.stringify(asked(model(), 900));
    const headers = { 'content-type': 'application/json' };
    const answer = fetch(client().url + COMPLETIONS, { method: 'POST', headers, body, signal: leaving.signal });
    const failed = expect(answer).rejects.toThrow();
    await poll('it runs', 5_000, async () => (await client().metric('vllm:num_requests_running')) === 1);
    leaving.abort();
    await failed;
    await idle(client());
  });
}

/** Well before 900 tokens could be made. */
const idle = (client: EngineClient): Promise<void> =>
  poll('nothing runs', 1_500, async () => (await client.metric('vllm:num_requests_running')) === 0);
