// Promise: `stepgate register NAME SOURCE` fetches through the gateway, says what came, how far it is and what is wrong; Ctrl-C takes it back,
// and the same command goes on from there.
import pino from 'pino';
import { expect, test } from 'vitest';
import { begin, run } from '../cli/run.ts';
import { type SetUp, until } from '../gateway/harness.ts';
import { adapterFiles, houseWith, registerFrom, staged, stagedBytes } from './house.ts';
import { startHost } from './stand-ins/host.ts';
import { SHA, startHub } from './stand-ins/hub.ts';

const LORA = 'hf:my-org/lora';

async function open(more: Record<string, unknown> = {}, options: SetUp = {}) {
  const hub = await startHub();
  const files = await adapterFiles({ hidden: 256 });
  hub.repos['my-org/lora'] = files;
  const house = await houseWith({ allow: [LORA], hf: { url: hub.url, redirects: [hub.cdn.host] } }, more, options);
  const args = (name: string, from: string) => ['register', name, from, '--admin', house.running.adminUrl];
  return { hub, house, args, weights: files['adapter_model.safetensors'] ?? Buffer.alloc(0) };
}

test('it is fetched, registered, and said where from', async () => {
  const { args, house } = await open();
  const { code, out, err } = await run(args('my-model@5', LORA));
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(out).toContain(`fetched hf:my-org/lora@${SHA}\nregistered my-model@5 (`);
  const listed = await run(['ls', 'my-model', '--json', '--admin', house.running.adminUrl]);
  expect(listed.out).toContain(`hf:my-org/lora@${SHA}`);
});

test('what is not allowed, or not there, ends it with what to do', async () => {
  const { args } = await open();
  const refused = await run(args('my-model@5', 'hf:other/lora'));
  expect(refused).toMatchObject({ code: 1, out: '' });
  expect(refused.err).toContain('sources: { allow: ["hf:other/lora"] }');
  expect((await run(args('my-model@5', `${LORA}@v9`))).err).toContain('(source_not_found)');
  expect((await run(args('my-model@5', 'gs://bucket/lora'))).err).toContain('hf:org/repo@revision');
});

test('Ctrl-C takes it back; the same command goes on', async () => {
  const { args, hub, house, weights } = await open();
  hub.cdn.stalls = true;
  const running = begin(args('my-model@5', LORA));
  await until(async () => (await stagedBytes(house, 'adapter_model.safetensors')) > 0);
  running.process.kill('SIGINT');
  const { code, err } = await running.ended;
  expect(code).toBe(1);
  expect(err).toContain('the same command goes on from there');
  await until(() => house.happenings.some((one) => one.type === 'source' && one.phase === 'broken_off'));
  expect(await staged(house)).toHaveLength(1);
  hub.cdn.stalls = false;
  hub.cdn.seen.length = 0;
  expect(await run(args('my-model@5', LORA))).toMatchObject({ code: 0 });
  expect(hub.cdn.seen.map(({ headers }) => headers.range)).toEqual([expect.stringMatching(/^bytes=\d+-$/)]);
  expect(hub.cdn.sent).toBe(weights.length);
  expect(await staged(house)).toEqual([]);
});

test('a gateway that stops tells what becomes of it, and writes down that it did', async () => {
  const lines: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) });
  const { args, hub, house } = await open({}, { log });
  hub.cdn.stalls = true;
  const running = begin(args('my-model@5', LORA));
  await until(async () => (await stagedBytes(house, 'adapter_model.safetensors')) > 0);
  await house.running.close();
  const { code, err } = await running.ended;
  expect({ code, err }).toEqual({
    code: 1,
    err: expect.stringContaining('The gateway is stopping. What was fetched is kept'),
  });
  expect(lines.map((line) => JSON.parse(line)).filter(({ level }) => level > 40)).toEqual([]);
  expect(await staged(house)).toHaveLength(1);
});

test('a gateway that dies meanwhile is told as such', async () => {
  // As much of a gateway as is left of one that is killed.
  const dying = await startHost(({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: {"type":"progress","phase":"listing","bytes":0,"bytesTotal":null}\n\n', () =>
      response.socket?.destroy(),
    );
  });
  const { code, err } = await run(['register', 'my-model@5', LORA, '--admin', dying.url]);
  expect({ code, err }).toEqual({
    code: 1,
    err: expect.stringContaining('ended the answer before it was done: ask again when the gateway is back'),
  });
});

test('while nothing comes, comments keep those who listen awake', async () => {
  const { hub, house } = await open({ scheduling: { commentEveryMs: 1_000 } });
  hub.cdn.stalls = true;
  const left = new AbortController();
  const response = await fetch(`${house.running.adminUrl}/admin/v1/checkpoints`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
    body: JSON.stringify({ name: 'my-model@5', source: LORA }),
    signal: left.signal,
  });
  const reader = response.body?.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]();
  let said = '';
  while (!said.includes(': my-model@5 is on its way\n\n')) said += (await reader?.next())?.value;
  left.abort();
});

test('a stream of events tells how far it is, and the audit log what came of it', async () => {
  const { hub, house } = await open();
  const ask = (source: string) =>
    fetch(`${house.running.adminUrl}/admin/v1/models/my-model/checkpoints`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
      body: JSON.stringify({ step: 5, source }),
    });
  hub.cdn.stalls = true;
  const response = await ask(LORA);
  const reader = response.body?.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]();
  let said = '';
  while (!said.includes('"phase":"fetching"')) said += (await reader?.next())?.value;
  hub.cdn.stalls = false;
  hub.cdn.drop();
  for (let one = await reader?.next(); one?.done === false; one = await reader?.next()) said += one.value;
  const events = said
    .split('\n\n')
    .filter(Boolean)
    .map((event) => JSON.parse(event.slice('data: '.length)));
  expect(events.map(({ type }) => type).filter((type, index, all) => type !== all[index - 1])).toEqual([
    'progress',
    'done',
  ]);
  expect(events.at(-1).checkpoint).toMatchObject({ name: 'my-model@5', source: `${LORA}@${SHA}` });
  expect(await (await ask('hf:other/lora')).text()).toMatch(/"type":"error".*"code":"source_not_allowed"/);
  const audit = async () => ((await house.admin('GET', '/audit')).body as { data: { after: unknown }[] }).data;
  await until(async () => (await audit()).length === 2);
  expect((await audit()).map(({ after }) => after)).toEqual([
    expect.objectContaining({ type: 'error' }),
    expect.objectContaining({ type: 'done' }),
  ]);
});

test('a caller who leaves without having asked for events takes it back too', async () => {
  const { hub, house } = await open();
  hub.cdn.stalls = true;
  const left = new AbortController();
  const asked = fetch(`${house.running.adminUrl}/admin/v1/checkpoints`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'my-model@5', source: LORA }),
    signal: left.signal,
  }).catch(() => undefined);
  await until(() => hub.cdn.sent > 0);
  left.abort();
  await asked;
  await until(() => house.happenings.some((one) => one.type === 'source' && one.phase === 'broken_off'));
  hub.cdn.stalls = false;
  expect(await registerFrom(house, LORA)).toMatchObject({ status: 201 });
});
