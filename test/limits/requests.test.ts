// Promise: each limit on requests lets in what it says, refuses one more in words that name it, and lets in again when there is room.
import { expect, test } from 'vitest';
import { BadClient } from '../faults/bad-client.ts';
import { setUp, until } from '../gateway/harness.ts';
import { bodyOf, openStalled, told, wait, waitingIn } from './house.ts';

const POST = 'POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n';
const BYTES = 1_000;
const chunked = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;

test('bodyBytesMax: a body of so many bytes is taken; one more is refused by its length before it comes, or while it comes', async () => {
  const house = await setUp({ config: { limits: { bodyBytesMax: BYTES } } });
  expect(await told(house.post('/v1/completions', bodyOf('base', BYTES)))).toMatchObject({ status: 200 });
  expect(await told(house.post('/v1/completions', bodyOf('base', BYTES + 1)))).toMatchObject({
    status: 413,
    code: 'body_too_large',
  });
  const client = new BadClient(house.running.url).send(`${POST}content-length: ${BYTES + 1}\r\n\r\n`);
  await client.until('body_too_large');
  const growing = new BadClient(house.running.url).send(`${POST}transfer-encoding: chunked\r\n\r\n`);
  growing.send(chunked(bodyOf('base', BYTES))).send(chunked('x'));
  await growing.until('body_too_large');
  growing.send('0\r\n\r\nGET /health HTTP/1.1\r\nhost: localhost\r\n\r\n');
  expect(await growing.until('HTTP/1.1 200'), 'its connection is of use').toContain('HTTP/1.1 200');
});

test('the same holds for the admin listener and for the routes of trainers', async () => {
  const house = await setUp({ config: { limits: { bodyBytesMax: BYTES } } });
  const post = (url: string, bytes: number) => {
    const body = JSON.stringify({ lora_name: '' }).replace('""', `"${'x'.repeat(bytes - 16)}"`);
    return fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  };
  for (const url of [`${house.running.adminUrl}/admin/v1/pins`, `${house.running.url}/v1/load_lora_adapter`]) {
    expect((await post(url, BYTES)).status).toBe(400);
    expect((await post(url, BYTES + 1)).status).toBe(413);
  }
});

test('headerBytesMax: a head of so many bytes is taken, one over it is answered 431', async () => {
  const headerBytesMax = 2_000;
  const house = await setUp({ config: { limits: { headerBytesMax } } });
  const ask = (bytes: number) => {
    const head = 'GET /health HTTP/1.1\r\nhost: localhost\r\npad: \r\n\r\n';
    return new BadClient(house.running.url).send(head.replace('pad: ', `pad: ${'x'.repeat(bytes - head.length)}`));
  };
  expect(await ask(headerBytesMax).until('\r\n\r\n')).toContain('HTTP/1.1 200');
  // llhttp counts names and values, not what is between them.
  expect(await ask(headerBytesMax + 100).untilClosed()).toMatch(/HTTP\/1.1 431[\s\S]*headers_too_large/);
});

test('bufferedBytesMax: bodies of waiting requests fill it; what does not fit beside them is refused unread, and taken when they have left', async () => {
  const house = await openStalled({ bufferedBytesMax: 3 * BYTES, bodyBytesMax: 2 * BYTES });
  const { bodies } = house.running.gateway;
  const leave = await wait(house, 'my-model@5', { count: 2, bytes: BYTES });
  expect(bodies.bytes).toBe(2 * BYTES);
  expect(await told(house.post('/v1/completions', bodyOf('base', BYTES)))).toMatchObject({ status: 200 });
  const over = await told(house.post('/v1/completions', bodyOf('base', BYTES + 1)));
  expect(over).toMatchObject({ status: 429, code: 'no_capacity', retryAfter: '1' });
  expect(over.message).toContain('limits.bufferedBytesMax');
  const unread = new BadClient(house.running.url).send(`${POST}content-length: ${BYTES + 1}\r\n\r\n`);
  expect(await unread.until('limits.bufferedBytesMax'), 'not a byte of it has come').toContain('HTTP/1.1 429');
  await leave();
  expect(bodies.bytes).toBe(0);
  expect(await told(house.post('/v1/completions', bodyOf('base', BYTES + 1)))).toMatchObject({ status: 200 });
  await until(() => bodies.bytes === 0);
});

test('bufferedBytesMax: what tells no length is refused while it comes; lengths that are only told take no room; callers that leave give theirs back', async () => {
  const house = await openStalled({ bufferedBytesMax: 2 * BYTES, bodyBytesMax: 2 * BYTES });
  const { bodies } = house.running.gateway;
  const liar = new BadClient(house.running.url).send(`${POST}content-length: ${2 * BYTES}\r\n\r\n`);
  const halves = new BadClient(house.running.url).send(`${POST}transfer-encoding: chunked\r\n\r\n`);
  halves.send(chunked('x'.repeat(BYTES)));
  await until(() => bodies.bytes === BYTES);
  const growing = new BadClient(house.running.url).send(`${POST}transfer-encoding: chunked\r\n\r\n`);
  growing.send(chunked('x'.repeat(BYTES)));
  await until(() => bodies.bytes === 2 * BYTES);
  growing.send(chunked('x'));
  expect(await growing.until('limits.bufferedBytesMax')).toContain('HTTP/1.1 429');
  expect(bodies.bytes, 'the refused one gave back what it had').toBe(BYTES);
  halves.leave();
  liar.leave();
  await until(() => bodies.bytes === 0);
});

test('bufferedBytesMax: of an upload, what stands before its model counts, and no more than that', async () => {
  const house = await setUp({ config: { limits: { bufferedBytesMax: 2_000, bodyBytesMax: 2_000 } } });
  const { bodies } = house.running.gateway;
  const part = (name: string, text: string) =>
    `--b\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${text}\r\n`;
  const head = `POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b\r\n`;
  const upload = new BadClient(house.running.url).send(`${head}transfer-encoding: chunked\r\n\r\n`);
  const first = part('language', 'x'.repeat(500));
  upload.send(chunked(first));
  await until(() => bodies.bytes === first.length);
  const model = part('model', 'base');
  upload.send(chunked(model));
  await until(() => bodies.bytes === first.length + model.length);
  upload
    .send(chunked(part('file', 'x'.repeat(500))))
    .send(chunked('--b--\r\n'))
    .send('0\r\n\r\n');
  await upload.until('HTTP/1.1');
  await until(() => bodies.bytes === 0);
});

test('queueMax: so many wait; one more is refused at once, but not who need not wait', async () => {
  const house = await openStalled({ queueMax: 3 });
  await wait(house, 'my-model@5', { count: 2 });
  const leave = await wait(house, 'my-model@6');
  const over = await told(house.post('/v1/completions', bodyOf('my-model@6', 100)));
  expect(over).toMatchObject({ status: 429, code: 'no_capacity', retryAfter: '1' });
  expect(over.message).toContain('limits.queueMax');
  expect(await told(house.post('/v1/completions', bodyOf('base', 100)))).toMatchObject({ status: 200 });
  await leave();
  await wait(house, 'my-model@6');
});

test('queuePerCheckpointMax: so many wait for one step; who comes for another still may', async () => {
  const house = await openStalled({ queuePerCheckpointMax: 2 });
  const leave = await wait(house, 'my-model@5', { count: 2 });
  const over = await told(house.post('/v1/completions', bodyOf('my-model@5', 100)));
  expect(over).toMatchObject({ status: 429, code: 'no_capacity', retryAfter: '1' });
  expect(over.message).toMatch(/2 requests are waiting for .*limits.queuePerCheckpointMax/);
  await wait(house, 'my-model@6', { count: 2 });
  expect(waitingIn(house)).toBe(4);
  await leave();
  await wait(house, 'my-model@5', { count: 2 });
});

test('connectionsMax: so many are open; one more is closed and counted; when one leaves, another is taken', async () => {
  const house = await setUp({ config: { limits: { connectionsMax: 3 } } });
  const open = () => new BadClient(house.running.url).send('GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n');
  const clients = [open(), open(), open()];
  for (const client of clients) expect(await client.until('\r\n\r\n')).toContain('HTTP/1.1 200');
  expect(await open().untilClosed()).toBe('');
  expect(await house.running.gateway.metrics.text()).toContain('connections_refused_total{listener="listen"} 1');
  expect((await fetch(`${house.running.adminUrl}/admin/v1/backends`)).status, 'the other listener has its own').toBe(
    200,
  );
  clients[0]?.leave();
  await until(async () => (await open().until('\r\n\r\n')).includes('HTTP/1.1 200'));
});

test('a config that is read anew counts from then on, without a restart', async () => {
  const house = await openStalled({ queueMax: 1, queuePerCheckpointMax: 1 });
  await wait(house, 'my-model@5');
  const ask = (model: string, bytes = 100) => told(house.post('/v1/completions', bodyOf(model, bytes)));
  expect((await ask('my-model@6')).message).toContain('limits.queueMax');
  await house.reload({ limits: { queueMax: 10, queuePerCheckpointMax: 1 } });
  expect((await ask('my-model@5')).message).toContain('limits.queuePerCheckpointMax');
  await house.reload({ limits: { queuePerCheckpointMax: 2, bodyBytesMax: BYTES, bufferedBytesMax: BYTES } });
  await wait(house, 'my-model@5');
  expect((await ask('base', BYTES)).message).toContain('limits.bufferedBytesMax');
  await house.reload({ limits: { connectionsMax: 1 } });
  expect(await new BadClient(house.running.url).untilClosed()).toBe('');
});
