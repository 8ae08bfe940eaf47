// What vLLM's answers to loads and unloads mean to the driver, in the words of vLLM 0.32.0 and of older versions.
import { describe, expect, test } from 'vitest';
import { adapterCard, driverOf, hang, MODELS, models, playing, reset, soon, weightsAt } from './playing.ts';
import { deadUrl, type Reply } from './stand-in.ts';

const LOAD = 'POST /v1/load_lora_adapter';
const UNLOAD = 'POST /v1/unload_lora_adapter';

const adapter = weightsAt('/data/adapters/my-model@5');

/** Of newer versions; `flat` is of older ones. */
const nested = (status: number, message: string, type = 'InternalServerError'): Reply => ({
  status,
  json: { error: { message, type, param: null, code: status } },
});
const flat = (status: number, message: string): Reply => ({
  status,
  json: { object: 'error', message, type: 'BadRequestError', code: status },
});
const worker = (words: string): Reply =>
  nested(
    500,
    `Call to add_lora method failed: Worker failed with error '${words}', please check the stack trace above for the root cause`,
  );

describe('a load', () => {
  test('tells the engine the immutable name and the path, and never to load in place', async () => {
    const { engine, driver } = await playing({
      [LOAD]: { text: "Success: LoRA adapter 'my-model@5' added successfully." },
    });
    expect(await driver.load(adapter, soon())).toEqual({ kind: 'loaded' });
    expect(engine.asked.map(({ body }) => JSON.parse(body))).toEqual([
      { lora_name: 'my-model@5', lora_path: adapter.path },
    ]);
  });

  const taken =
    "The lora adapter 'my-model@5' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.";
  test.each([
    ['nested', nested(400, taken, 'InvalidUserInput')],
    ['flat', flat(400, taken)],
  ])('of a name that the engine holds from our path is a success (%s error)', async (_, refusal) => {
    const { driver } = await playing({
      [LOAD]: refusal,
      [MODELS]: models(adapterCard('my-model@5', adapter.path ?? '')),
    });
    expect(await driver.load(adapter, soon())).toEqual({ kind: 'loaded' });
  });

  test('of a name that the engine holds from another path fails: those are other weights', async () => {
    const { driver } = await playing({
      [LOAD]: nested(400, taken),
      [MODELS]: models(adapterCard('my-model@5', '/other')),
    });
    expect(await driver.load(adapter, soon())).toEqual({
      kind: 'failed',
      fault: 'backend',
      message: expect.stringMatching(
        /holds the name my-model@5 under another path, \/other.*unload it there, or restart/,
      ),
    });
  });

  test.each([
    ['it lists no such name', models()],
    ['its list is lost', reset],
    ['its list is no list', { text: '<html>' }],
  ])('of a name that the engine says it holds is not known while %s', async (_, list) => {
    const { driver } = await playing({ [LOAD]: nested(400, taken), [MODELS]: list });
    expect(await driver.load(adapter, soon())).toMatchObject({ kind: 'unknown' });
  });

  test.each<[string, Reply, RegExp]>([
    [
      'rank over the maximum',
      worker('LoRA rank 60 is greater than max_lora_rank 16.'),
      /its rank 60 is over the engine's 16: .*--max-lora-rank 64$/,
    ],
    ['the same, older', flat(400, 'LoRA rank 64 is greater than max_lora_rank 16.'), /its rank 64 is over/],
    ['DoRA', worker('vLLM does not yet support DoRA.'), /^the engine refused it: vLLM does not yet support DoRA\.$/],
    ['bias', worker('Adapter bias is not supported.'), /Adapter bias is not supported\./],
    [
      'modules_to_save, which quotes',
      worker("vLLM only supports modules_to_save being either None. Unsupported modules_to_save: ['lm_head']"),
      /\['lm_head'\]$/,
    ],
    [
      'target modules, at length',
      worker(
        `While loading <path>, expected target modules in {'q_proj'} but received [${"'model.layers.0.self_attn.foo_proj', ".repeat(40)}]`,
      ),
      /^.{200,350}\.\.\.$/,
    ],
    ['no tensors', worker("<path> doesn't contain tensors"), /doesn't contain tensors/],
    [
      'truncated',
      worker('Error while deserializing header: incomplete metadata, file not fully covered'),
      /deserializing header/,
    ],
    [
      'shapes of another base',
      worker('The size of tensor a (256) must match the size of tensor b (261) at non-singleton dimension 1'),
      /size of tensor/,
    ],
    ['no words at all', worker(''), /^the engine refused it: it gave no reason \(HTTP 500/],
    [
      'a field refused',
      nested(400, "1 validation error:\n  {'type': 'string_type'}", 'Bad Request'),
      /1 validation error: \{/,
    ],
    [
      "a base's name",
      nested(400, "The lora adapter 'base' conflicts with a served base model."),
      /register it under another name/,
    ],
  ])('spoilt by the adapter says so: %s', async (_, refusal, message) => {
    const { driver } = await playing({ [LOAD]: refusal });
    expect(await driver.load(adapter, soon())).toEqual({
      kind: 'failed',
      fault: 'adapter',
      message: expect.stringMatching(message),
    });
  });

  test.each<[string, Reply, RegExp]>([
    ['no such routes', { status: 404, json: { detail: 'Not Found' } }, /VLLM_ALLOW_RUNTIME_LORA_UPDATING=1/],
    ['LoRA is off', nested(500, 'LoRA is not enabled. Use --enable-lora to enable LoRA.'), /--enable-lora/],
    [
      'it cannot see the files',
      nested(404, 'Loading lora my-model@5 failed: No adapter found for <path>', 'NotFoundError'),
      /cannot see \/data\/adapters\/my-model@5: does it share/,
    ],
    [
      'out of memory',
      worker('CUDA out of memory. Tried to allocate 2.00 MiB.'),
      /failed to load it: CUDA out of memory/,
    ],
    [
      'its core died',
      nested(500, 'EngineCore encountered an issue. See stack trace (above) for the root cause.'),
      /EngineCore encountered an issue/,
    ],
    ['something new', nested(500, 'The moon is full.'), /failed to load it: The moon is full\./],
    ['plain text', { status: 500, text: 'Internal Server Error' }, /Internal Server Error/],
    ['a page', { status: 404, text: '<html>nginx</html>', type: 'text/html' }, /no reason \(HTTP 404 text\/html\)/],
    ['a key is wanted', { status: 401, json: { error: 'Unauthorized' } }, /Unauthorized/],
  ])('spoilt by the engine does not count against the adapter: %s', async (_, refusal, message) => {
    const { driver } = await playing({ [LOAD]: refusal });
    expect(await driver.load(adapter, soon())).toEqual({
      kind: 'failed',
      fault: 'backend',
      message: expect.stringMatching(message),
    });
  });

  test('that was never sent has failed, and the message asks the right question', async () => {
    const driver = await driverOf(await deadUrl());
    expect(await driver.load(adapter, soon())).toEqual({
      kind: 'failed',
      fault: 'backend',
      unsent: true,
      message: expect.stringMatching(
        /^no connection to http:\/\/127\.0\.0\.1:\d+ \(ECONNREFUSED\): is the engine running there\?$/,
      ),
    });
  });

  test.each<[string, Reply, RegExp]>([
    ['no answer in time', hang, /did not answer in time/],
    ['a reset', reset, /broke before its answer was whole/],
    ['an end without an answer', (response) => response.socket?.end(), /broke before/],
    [
      'an answer cut short',
      (response) => response.writeHead(200, { 'content-length': 99 }).write('Succ', () => response.destroy()),
      /broke before/,
    ],
    ['no HTTP', (response) => response.socket?.end('garbage\r\n\r\n'), /broke before/],
    ['a proxy that gave up on the engine', { status: 504, text: '<html>', type: 'text/html' }, /no reason \(HTTP 504/],
  ])('that may have happened is unknown: %s', async (_, reply, message) => {
    const { driver } = await playing({ [LOAD]: reply });
    const outcome = await driver.load(adapter, AbortSignal.timeout(reply === hang ? 50 : 5_000));
    expect(outcome).toEqual({ kind: 'unknown', message: expect.stringMatching(message) });
  });
});

describe('an unload', () => {
  test.each<[string, Reply, unknown]>([
    ['done', { text: "Success: LoRA adapter 'my-model@5' removed successfully." }, { kind: 'unloaded' }],
    [
      'nothing to do',
      nested(404, "The lora adapter 'my-model@5' cannot be found.", 'NotFoundError'),
      { kind: 'unloaded' },
    ],
    ['the same, older', flat(400, "The lora adapter 'my-model@5' cannot be found."), { kind: 'unloaded' }],
    [
      'no such route',
      { status: 404, json: { detail: 'Not Found' } },
      { kind: 'failed', message: expect.stringContaining('VLLM_ALLOW_RUNTIME') },
    ],
    ['refused', nested(500, 'No.'), { kind: 'failed', message: 'the engine failed to unload it: No.' }],
    ['answer lost', reset, { kind: 'unknown', message: expect.stringContaining('broke') }],
  ])('%s', async (_, reply, outcome) => {
    const { engine, driver } = await playing({ [UNLOAD]: reply });
    expect(await driver.unload(adapter.id, soon())).toEqual(outcome);
    expect(engine.asked.map(({ body }) => JSON.parse(body))).toEqual([{ lora_name: 'my-model@5' }]);
  });
});
