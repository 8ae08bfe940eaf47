// Uploads: the model's name is found in the stream and spliced there, the file goes by without being held, and a caller that stops is no
// engine's fault.
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { expect, test } from 'vitest';
import { type House, setUp, until } from './harness.ts';

const PATH = '/v1/audio/transcriptions';
const BOUNDARY = 'of-a-form';
const FORM = `multipart/form-data; boundary=${BOUNDARY}`;
const MEGABYTE = 1024 * 1024;
const modelPart = (name: string) => `--${BOUNDARY}\r\ncontent-disposition: form-data; name="model"\r\n\r\n${name}\r\n`;
const FILE_HEAD = `--${BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n`;
const END = `\r\n--${BOUNDARY}--\r\n`;

interface Answer {
  readonly status: number;
  readonly code: string | undefined;
  readonly text: string | undefined;
}

function upload(house: House, headers: Record<string, string | number> = {}): ClientRequest {
  const sending = request(`${house.running.url}${PATH}`, {
    method: 'POST',
    headers: { 'content-type': FORM, ...headers },
    agent: false,
  });
  return sending.on('error', () => {});
}

async function answerTo(sending: ClientRequest): Promise<Answer> {
  const [answer] = (await once(sending, 'response')) as [IncomingMessage];
  let json = '';
  for await (const bytes of answer) json += bytes;
  const { error, text } = JSON.parse(json) as { error?: { code: string }; text?: string };
  return { status: answer.statusCode ?? 0, code: error?.code, text };
}

async function withStep(options: Parameters<typeof setUp>[0] = {}): Promise<House> {
  const house = await setUp({ latest: 'published', ...options });
  await house.write(5);
  return house;
}

test.each([
  ['first', [modelPart('my-model@5'), `${FILE_HEAD}RIFF`, END]],
  ['last', [`${FILE_HEAD}RIFF\r\n`, modelPart('my-model@5'), END.slice(2)]],
])('the model part %s, with and without a length, in pieces of any size', async (_, pieces) => {
  const house = await withStep();
  const body = pieces.join('');
  for (const length of [undefined, Buffer.byteLength(body)]) {
    const sending = upload(house, length === undefined ? {} : { 'content-length': length });
    for (let at = 0; at < body.length; at += 7) sending.write(body.slice(at, at + 7));
    sending.end();
    const answer = await answerTo(sending);
    expect(answer).toMatchObject({ status: 200, text: expect.stringContaining('[my-model@5 sha:') });
    const seen = house.sims[0]?.seen();
    expect(seen?.body).toBe(body);
    expect(seen?.headers['content-length']).toBe(length === undefined ? undefined : String(length));
  }
});

test("the engine's name has another length: the form's length is told anew", async () => {
  const house = await withStep();
  await house.write(5, { seed: 99 });
  await until(() => house.running.gateway.registry.catalog.find('my-model@5')?.revision === 2);
  const engineName = String(house.running.gateway.registry.catalog.find('my-model@5')?.adapter?.id);
  const body = `${modelPart('my-model@5')}${FILE_HEAD}RIFF${END}`;
  const sending = upload(house, { 'content-length': body.length });
  sending.end(body);
  expect((await answerTo(sending)).status).toBe(200);
  expect(house.sims[0]?.seen()?.body).toBe(body.replace('my-model@5', engineName));
});

test('a file behind the model reaches the engine as it comes, and is held nowhere', async () => {
  const house = await withStep();
  const before = house.sims[0]?.stats().requests ?? 0;
  const sending = upload(house);
  sending.write(modelPart('my-model@5') + FILE_HEAD);
  // The engine has the request while its file is far from complete.
  await until(() => (house.sims[0]?.stats().requests ?? 0) > before);
  const piece = Buffer.alloc(MEGABYTE, 'x');
  for (let i = 0; i < 24; i++) if (!sending.write(piece)) await once(sending, 'drain');
  sending.end(END);
  expect((await answerTo(sending)).status).toBe(200);
  expect(house.sims[0]?.seen()?.body.length).toBeGreaterThan(24 * MEGABYTE);
});

test('a model behind a large file works up to the limit of bodies; over it the caller is told 413', async () => {
  const house = await withStep({ config: { limits: { bodyBytesMax: 4 * MEGABYTE } } });
  const piece = Buffer.alloc(MEGABYTE, 'x');
  const send = async (megabytes: number) => {
    const sending = upload(house);
    sending.write(FILE_HEAD);
    for (let i = 0; i < megabytes; i++) sending.write(piece);
    sending.end(`\r\n${modelPart('my-model@5')}${END.slice(2)}`);
    return answerTo(sending);
  };
  expect((await send(3)).status).toBe(200);
  expect(await send(5)).toMatchObject({ status: 413, code: 'body_too_large' });
});

test('a form that grows over the limit behind its model, or names a second one, never reaches an engine whole', async () => {
  const house = await withStep({ config: { limits: { bodyBytesMax: MEGABYTE } } });
  const done = house.sims[0]?.stats().done;
  const large = upload(house);
  large.write(modelPart('my-model@5') + FILE_HEAD);
  large.end(Buffer.alloc(2 * MEGABYTE, 'x'));
  expect(await answerTo(large)).toMatchObject({ status: 413, code: 'body_too_large' });
  const twice = upload(house);
  twice.write(`${modelPart('my-model@5')}${FILE_HEAD}x`);
  twice.end(`\r\n${modelPart('base')}${END.slice(2)}`);
  expect(await answerTo(twice)).toMatchObject({ status: 400, code: 'invalid_request' });
  expect(house.sims[0]?.stats().done).toBe(done);
});

test('while it waits for a slot, an upload is not read on; then it arrives whole', async () => {
  const house = await withStep({ engines: [{ loadMs: 300 }] });
  const sending = upload(house);
  sending.write(modelPart('my-model@5') + FILE_HEAD);
  const piece = Buffer.alloc(MEGABYTE, 'x');
  for (let i = 0; i < 24; i++) sending.write(piece);
  sending.end(END);
  await until(() => house.running.gateway.router.state.waiting === 1);
  expect(sending.writableLength).toBeGreaterThan(8 * MEGABYTE);
  expect(await answerTo(sending)).toMatchObject({ status: 200, text: expect.stringContaining('[my-model@5 sha:') });
});

test('an engine that has forgotten the adapter gets it again, but the upload has to be sent again', async () => {
  const house = await withStep({ config: { probe: { everyMs: 60_000 } } });
  const body = `${modelPart('my-model@5')}${FILE_HEAD}RIFF${END}`;
  const send = () => {
    const sending = upload(house);
    sending.end(body);
    return answerTo(sending);
  };
  expect((await send()).status).toBe(200);
  house.sims[0]?.forget('my-model@5');
  expect(await send()).toMatchObject({ status: 503, code: 'backend_unavailable' });
  expect((await send()).status).toBe(200);
  await until(() => house.running.gateway.inFlight === 0);
});

test.each([
  ['no form', 'application/json', '{"model":"my-model@5"}', 'unsupported_media_type'],
  ['a form without a model', FORM, `${FILE_HEAD}x${END}`, 'model_required'],
  ['a form that ends early', FORM, `${FILE_HEAD}x`, 'model_required'],
  ['an unknown model', FORM, `${modelPart('other')}${FILE_HEAD}x${END}`, 'model_not_found'],
])('%s is refused', async (_, type, body, code) => {
  const house = await withStep();
  const sending = upload(house, { 'content-type': type });
  sending.end(body);
  expect((await answerTo(sending)).code).toBe(code);
});
