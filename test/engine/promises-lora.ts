// Promises about loading and unloading: statuses, words, what is listed, and what becomes of requests in flight.
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { BAD_ADAPTERS, makeBad } from './bad-adapters.ts';
import { type Answer, asked, type ErrorBody } from './client.ts';
import type { Given } from './conformance.ts';

const LOAD = '/v1/load_lora_adapter';
const UNLOAD = '/v1/unload_lora_adapter';

export function loraPromises(given: Given): void {
  describe('loading and unloading', () => {
    successPromises(given);
    refusalPromises(given);
    flightPromises(given);
  });
}

function successPromises({ engine, client, adapter, name }: Given): void {
  test('both answer in plain text', async () => {
    const made = name();
    expect(await client().load(made, adapter(0))).toEqual({
      status: 200,
      type: undefined,
      text: `Success: LoRA adapter '${made}' added successfully.`,
    });
    expect(await client().unload(made)).toEqual({
      status: 200,
      type: undefined,
      text: `Success: LoRA adapter '${made}' removed successfully.`,
    });
  });

  test('the models list the base, then adapters in order of loading, each with its path', async () => {
    const [later, sooner] = [name(), name()];
    await client().load(sooner, adapter(1));
    await client().load(later, adapter(0));
    const cards = await client().cards();
    expect(cards[0]).toMatchObject({
      id: engine().base,
      object: 'model',
      parent: null,
      max_model_len: expect.any(Number),
    });
    expect(cards.slice(-2)).toMatchObject([
      { id: sooner, root: adapter(1), parent: engine().base, max_model_len: null },
      { id: later, root: adapter(0), parent: engine().base, max_model_len: null },
    ]);
    await client().unload(sooner);
    expect((await client().cards()).map(({ id }) => id)).not.toContain(sooner);
  });

  test('more adapters than fit are all listed', async () => {
    const names = Array.from({ length: engine().slots + 4 }, name);
    for (const [i, made] of names.entries()) expect((await client().load(made, adapter(i % 2))).status).toBe(200);
    expect((await client().cards()).map(({ id }) => id)).toEqual(expect.arrayContaining(names));
    for (const made of names) await client().unload(made);
  });

  test('each adapter answers with its own weights, whatever it is called, and not with the base', async () => {
    const names = Array.from({ length: engine().slots + 1 }, name);
    for (const [i, made] of names.entries()) await client().load(made, adapter(i));
    const ids = [];
    for (const made of [engine().base, ...names]) ids.push(await client().tokenIds(made, 6));
    expect(new Set(ids.map(String)).size).toBe(ids.length);
    const again = name();
    await client().load(again, adapter(0));
    expect(await client().tokenIds(again, 6)).toEqual(ids[1]);
  });
}

function refusalPromises({ engine, client, adapter, name }: Given): void {
  test('a name that is loaded is refused, from the same path or another', async () => {
    const made = name();
    await client().load(made, adapter(0));
    for (const path of [adapter(0), adapter(1)]) {
      expectError(await client().load(made, path), 400, 'InvalidUserInput', {
        message: `The lora adapter '${made}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.`,
      });
    }
  });

  test('of concurrent loads of one name one succeeds and the others wait, then hear that it is loaded', async () => {
    const made = name();
    const answers = await Promise.all(Array.from({ length: 3 }, () => client().load(made, adapter(0))));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400, 400]);
    for (const answer of answers.filter(({ status }) => status === 400))
      expect(answer.text).toContain('already been loaded');
  });

  test.each([
    {
      what: 'an empty name',
      body: { lora_name: '', lora_path: '/x' },
      type: 'InvalidUserInput',
      says: "Both 'lora_name' and 'lora_path' must be provided.",
    },
    {
      what: 'an empty path',
      body: { lora_name: 'x', lora_path: '' },
      type: 'InvalidUserInput',
      says: "Both 'lora_name' and 'lora_path' must be provided.",
    },
    {
      what: 'no path',
      body: { lora_name: 'x' },
      type: 'Bad Request',
      says: "1 validation error:\n  {'type': 'missing', 'loc': 'body.lora_path', 'msg': 'Field required'",
    },
    {
      what: 'a name that is no string',
      body: { lora_name: 5, lora_path: '/x' },
      type: 'Bad Request',
      says: "'loc': 'body.lora_name', 'msg': 'Input should be a valid string', 'input': '5'",
    },
    { what: 'no JSON', body: '{nope', type: 'Bad Request', says: 'JSON decode error' },
  ])('a load with $what is 400', async ({ body, type, says }) => {
    expectError(await client().post(LOAD, body), 400, type, { message: expect.stringContaining(says) });
  });

  test.each([LOAD, UNLOAD])('another content type is 400: %s', async (path) => {
    const answer = await client().post(path, { lora_name: 'x', lora_path: '/x' }, { 'content-type': 'text/plain' });
    expectError(answer, 400, 'Bad Request', {
      message: "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed",
    });
  });

  test('a path where nothing is, is 404, and paths under the usual roots are hidden', async () => {
    const made = name();
    expectError(await client().load(made, '/nowhere/at/all'), 404, 'NotFoundError', {
      message: `Loading lora ${made} failed: No adapter found for /nowhere/at/all`,
    });
    expectError(await client().load(made, '/var/nowhere'), 404, 'NotFoundError', {
      message: `Loading lora ${made} failed: No adapter found for <path>`,
    });
  });

  test('an unload of an unknown name is 404, of an empty one 400', async () => {
    const made = name();
    expectError(await client().unload(made), 404, 'NotFoundError', {
      message: `The lora adapter '${made}' cannot be found.`,
    });
    expectError(await client().unload(''), 400, 'InvalidUserInput', {
      message: "'lora_name' needs to be provided to unload a LoRA adapter.",
    });
  });

  test.each(BAD_ADAPTERS)('refused, and the engine stays healthy: $what', async (bad) => {
    const path = join(await mkdtemp(join(engine().scratch, 'bad-')), 'adapter');
    await makeBad(adapter(0), path, bad);
    const made = name();
    expectError(await client().load(made, path), bad.status, bad.type, { message: expect.stringContaining(bad.says) });
    expect((await client().cards()).map(({ id }) => id)).not.toContain(made);
    expect((await client().get('/health')).status).toBe(200);
  });
}

function flightPromises({ engine, client, adapter, name }: Given): void {
  test('an unload forgets the name and lets requests in flight finish', async () => {
    const made = name();
    await client().load(made, adapter(0));
    const stream = await client().longStream(made, 150);
    await stream.until(2);
    expect((await client().unload(made)).status).toBe(200);
    expect((await client().post('/v1/completions', asked(made, 2))).status).toBe(404);
    expect((await stream.end()).at(-1)).toBe('[DONE]');
    expect(stream.data.at(-2)).toContain('"finish_reason":"length"');
  });

  test('a request for one adapter too many starves while the others run, overtaken by theirs and by the base', async () => {
    const names = Array.from({ length: engine().slots + 1 }, name);
    for (const [i, made] of names.entries()) await client().load(made, adapter(i));
    const extra = names.pop() ?? '';
    const blockers = await Promise.all(names.map((made) => client().longStream(made, 900)));
    await Promise.all(blockers.map((stream) => stream.until(2)));

    const starving = await client().longStream(extra, 2);
    // The head of a stream comes at once, whatever waits behind it.
    expect(starving.status).toBe(200);
    for (const made of [names[0] ?? '', engine().base, names[1] ?? '']) {
      expect((await client().post('/v1/completions', asked(made, 2))).status).toBe(200);
    }
    expect(starving.data).toEqual([]);
    expect(await client().metric('vllm:num_requests_waiting')).toBe(1);
    expect(blockers.map(({ ended }) => ended)).not.toContain(true);

    blockers[0]?.leave();
    expect((await starving.end()).at(-1)).toBe('[DONE]');
    for (const blocker of blockers) blocker.leave();
  });
}

function expectError(answer: Answer, status: number, type: string, error: { message: unknown }): void {
  expect(answer.type).toBe('application/json');
  const body = JSON.parse(answer.text) as ErrorBody;
  expect({ status: answer.status, body }).toEqual({
    status,
    body: { error: { type, code: status, param: body.error.param, ...error } },
  });
}
