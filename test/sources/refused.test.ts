// Promise: the gateway goes nowhere that the config does not allow, shows a key to nobody but its host, takes no more than it may, and says
// what to do about each.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { StepgateError } from '../../src/errors.ts';
import { isPublic } from '../../src/sources/addresses.ts';
import { until } from '../gateway/harness.ts';
import { adapterFiles, houseWith, keyFile, registerFrom, scratch, staged } from './house.ts';
import { openRoom } from './room.ts';
import { type Host, send, startHost, sum } from './stand-ins/host.ts';
import { startHub } from './stand-ins/hub.ts';
import { ACCESS, startS3 } from './stand-ins/s3.ts';

/** Serves these files at any path that ends with their names. */
const hostOf = (files: Record<string, Buffer>): Promise<Host> =>
  startHost(({ url, request, response, host }) => {
    const bytes = files[url.pathname.slice(url.pathname.lastIndexOf('/') + 1)];
    if (bytes === undefined) return void response.writeHead(404).end();
    send(host, request, response, { bytes, etag: `"${sum('sha1', bytes)}"` });
  });

test('nothing is allowed until the config says so, and the error has the line; what was asked for is not asked', async () => {
  const web = await hostOf(await adapterFiles());
  const house = await houseWith({});
  expect(await registerFrom(house, `${web.url}/a`)).toMatchObject({
    ...{ status: 403, code: 'source_not_allowed' },
    message: expect.stringContaining(`sources: { allow: ["${web.url}/a"] }`),
  });
  expect(web.seen).toEqual([]);
  expect(await registerFrom(house, 'gs://bucket/a')).toMatchObject({
    status: 400,
    code: 'invalid_request',
    message: expect.stringContaining('hf:org/repo'),
  });
  await house.reload({ sources: { allow: [`${web.url}/a`] } });
  expect(await registerFrom(house, `${web.url}/a`)).toMatchObject({ status: 201 });
  expect(await house.admin('POST', '/checkpoints', { name: 'x', path: '/a', source: 'hf:a/b' })).toMatchObject({
    status: 400,
  });
  expect(await house.admin('POST', '/models/my-model/checkpoints', { step: 6, source: `${web.url}/a` })).toMatchObject({
    status: 201,
  });
});

test('a redirect leads nowhere else: not to another host, another scheme, nor the network that only the gateway sees', async () => {
  const inside = await hostOf(await adapterFiles());
  const web = await startHost(({ response }) => void response.writeHead(302, { location }).end());
  let location = `${inside.url}/latest/meta-data`;
  const room = await openRoom({ allow: [`${web.url}/`] });
  expect(await room.bring(`${web.url}/a`)).toMatchObject({
    code: 'source_not_allowed',
    message: expect.stringContaining(inside.host),
  });
  for (const elsewhere of ['file:///etc/passwd', 'https://169.254.169.254/', 'ftp://x/', '//']) {
    location = elsewhere;
    const code = expect.stringMatching(/^source_(not_allowed|failed)$/);
    expect(await room.bring(`${web.url}/a`), elsewhere).toMatchObject({ code });
  }
  location = `${web.url}/a`;
  expect(await room.bring(`${web.url}/a`)).toMatchObject({
    code: 'source_failed',
    message: expect.stringContaining('more than 5 times'),
  });
  expect(inside.seen).toEqual([]);
});

test('a host that nobody wrote out must be at a public address, by its number and by its name', async () => {
  const inside = await hostOf(await adapterFiles());
  const room = await openRoom({ allow: ['http://*/'] });
  const port = new URL(inside.url).port;
  for (const name of ['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]', '0x7f.1'])
    expect(await room.bring(`http://${name}:${port}/a`), name).toMatchObject({ code: 'source_not_allowed' });
  expect(inside.seen).toEqual([]);
  const meant = await openRoom({ allow: [`http://localhost:${port}/`] });
  expect(await meant.bring(`http://localhost:${port}/a`)).toMatchObject({ uri: expect.any(String) });
});

test.each([
  '127.0.0.1',
  '10.1.2.3',
  '169.254.169.254',
  '192.168.0.1',
  '100.100.100.200',
  '0.0.0.0',
  '::1',
  '::ffff:10.0.0.1',
  'fd00::1',
  'fe80::1',
  '64:ff9b::a00:1',
  '224.0.0.1',
  '255.255.255.255',
])('%s is not public', (address) => expect(isPublic(address)).toBe(false));
test.each(['8.8.8.8', '2606:4700::1111', '::ffff:8.8.8.8'])('%s is public', (address) =>
  expect(isPublic(address)).toBe(true),
);

test('a key that is missing, or that may not read it, is told with its setting; a key goes to its own host alone', async () => {
  const hub = await startHub();
  hub.repos['my-org/lora'] = await adapterFiles({ hidden: 128 });
  hub.token = 'hf_good';
  const other = await hostOf({});
  hub.redirect = `${other.url}/x`;
  const hf = { url: hub.url, redirects: [hub.cdn.host] };
  const without = await openRoom({ allow: ['hf:my-org'], hf });
  expect(await without.bring('hf:my-org/lora')).toMatchObject({
    code: 'source_failed',
    message: expect.stringContaining('sources.hf.keyFile'),
  });
  const wrong = await openRoom({ allow: ['hf:my-org'], hf }, { keys: new Map([['hf', 'hf_bad']]) });
  expect(await wrong.bring('hf:my-org/lora')).toMatchObject({
    message: expect.stringContaining('the key of sources.hf may not'),
  });
  const guessed = await openRoom(
    { allow: ['hf:my-org'], hf: { ...hf, redirects: [`*${other.host.slice(1)}`] } },
    { keys: new Map([['hf', 'hf_good']]) },
  );
  expect(await guessed.bring('hf:my-org/lora')).toMatchObject({
    code: 'source_not_allowed',
    message: expect.stringContaining(`add "${other.host}" to sources.hf.redirects`),
  });
  expect(other.seen).toEqual([]);
  const good = await openRoom(
    { allow: ['hf:my-org'], hf: { ...hf, redirects: [other.host] } },
    { keys: new Map([['hf', 'hf_good']]) },
  );
  expect(await good.bring('hf:my-org/lora')).toMatchObject({ code: 'source_not_found' });
  expect(other.seen.length).toBeGreaterThan(0);
  for (const { headers } of other.seen) expect(headers.authorization).toBeUndefined();
  for (const { message } of [await wrong.bring('hf:my-org/lora')]) expect(message).not.toContain('hf_bad');
});

test('keys are read anew with the config, from files; a wrong one is no reason not to start', async () => {
  const s3 = await startS3();
  for (const [name, bytes] of Object.entries(await adapterFiles())) s3.objects[`a/${name}`] = bytes;
  const settings = { url: s3.url, region: ACCESS.region };
  const sources = { allow: ['s3://ckpts'], s3: { ...settings, keyFile: await keyFile(`${ACCESS.id}:wrong`) } };
  const house = await houseWith(sources);
  expect(await registerFrom(house, 's3://ckpts/a')).toMatchObject({ status: 502, code: 'source_failed' });
  await house.reload({
    sources: { ...sources, s3: { ...settings, keyFile: await keyFile(`${ACCESS.id}:${ACCESS.secret}`) } },
  });
  expect(await registerFrom(house, 's3://ckpts/a')).toMatchObject({ status: 201 });
});

test('what is not there is told with what was looked for', async () => {
  const hub = await startHub();
  const s3 = await startS3();
  s3.isPublic = true;
  const room = await openRoom({
    allow: ['hf:my-org', 's3://ckpts', 's3://other'],
    hf: { url: hub.url },
    s3: { url: s3.url },
  });
  expect(await room.bring('hf:my-org/lora@v9')).toMatchObject({
    code: 'source_not_found',
    message: expect.stringContaining('/api/models/my-org/lora/revision/v9'),
  });
  expect(await room.bring('s3://other/a')).toMatchObject({ code: 'source_not_found' });
  expect(await room.bring('s3://ckpts/a')).toMatchObject({
    code: 'checkpoint_invalid',
    message: expect.stringContaining('nothing is there'),
  });
  const web = await startHost(
    ({ response }) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'),
  );
  const strange = await openRoom({
    allow: ['hf:my-org', 's3://ckpts', 'wandb:a', 'mlflow:models:'],
    hf: { url: web.url },
    s3: { url: web.url },
    wandb: { url: web.url },
    mlflow: { url: web.url },
  });
  for (const source of ['hf:my-org/lora', 's3://ckpts/a', 'wandb:a/b/c:v1', 'mlflow:models:/a/1'])
    expect(await strange.bring(source), source).toMatchObject({
      code: 'source_failed',
      message: expect.stringMatching(/not in JSON|not as/),
    });
  const gone = await openRoom({ allow: ['http://127.0.0.1:9/'] });
  expect(await gone.bring('http://127.0.0.1:9/a')).toMatchObject({
    code: 'source_failed',
    message: expect.stringContaining('cannot be asked'),
  });
});

test("a server's own words are told, without the key that it may have put into them", async () => {
  const xml =
    '<?xml version="1.0"?><Error><Code>X</Code><Message>the region is wrong; expecting eu-central-1</Message></Error>';
  const say = (status: number, type: string, text: string) =>
    startHost(({ response }) => void response.writeHead(status, { 'content-type': type }).end(text));
  const s3 = await say(400, 'application/xml', xml);
  const mlflow = await say(403, 'application/json', '{"error_code":"X","message":"the token s3cret-key is not valid"}');
  const hub = await say(400, 'application/json', '{"error":');
  const settings = { s3: { url: s3.url }, mlflow: { url: mlflow.url }, hf: { url: hub.url } };
  const room = await openRoom(
    { allow: ['s3://ckpts', 'mlflow:models:', 'hf:*'], ...settings },
    { keys: new Map([['mlflow', 's3cret-key']]) },
  );
  expect((await room.bring('s3://ckpts/a')).message).toContain(
    'It says: "the region is wrong; expecting eu-central-1"',
  );
  expect((await room.bring('mlflow:models:/a/1')).message).toContain('It says: "the token *** is not valid"');
  expect(await room.bring('hf:my-org/lora')).toMatchObject({
    code: 'source_failed',
    message: expect.stringMatching(/ answers 400\.$/),
  });
});

test('a list without end is not read to its end', async () => {
  const endless = await startHost(({ response }) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    const write = () => void (response.destroyed || response.write('['.repeat(1_048_576), write));
    write();
  });
  const room = await openRoom({ allow: ['hf:*', 's3://ckpts'], hf: { url: endless.url }, s3: { url: endless.url } });
  for (const source of ['hf:my-org/lora', 's3://ckpts/a'])
    expect(await room.bring(source), source).toMatchObject({
      code: 'source_failed',
      message: expect.stringContaining('list of files'),
    });
});

test('too large is refused before a byte of it comes, also when only the store is too small for it', async () => {
  const files = await adapterFiles({ hidden: 1024, layers: 8, rank: 16 });
  expect(files['adapter_model.safetensors']?.length).toBeGreaterThan(1_200_000);
  const web = await hostOf(files);
  const small = await openRoom({ allow: [web.url], bytesMax: 1_048_576 });
  expect(await small.bring(`${web.url}/a`)).toMatchObject({
    code: 'checkpoint_invalid',
    message: expect.stringContaining('sources.bytesMax'),
  });
  const house = await houseWith({ allow: [web.url] }, { store: { bytesMax: 1_048_576 } });
  expect(await registerFrom(house, `${web.url}/a`)).toMatchObject({
    status: 507,
    code: 'storage_full',
    message: expect.stringContaining(web.url),
  });
  expect(await staged(house)).toEqual([]);
  // One that does not say how large it is.
  const endless = await startHost(({ url, response }) => {
    if (!url.pathname.endsWith('/adapter_config.json') && !url.pathname.endsWith('.safetensors'))
      return void response.writeHead(404).end();
    response.writeHead(200);
    const write = () => void (response.destroyed || response.write(Buffer.alloc(65_536), write));
    write();
  });
  const room = await openRoom({ allow: [endless.url], bytesMax: 1_048_576 });
  expect(await room.bring(`${endless.url}/a`)).toMatchObject({
    code: 'checkpoint_invalid',
    message: expect.stringContaining('sources.bytesMax'),
  });
  expect(await room.staged()).toEqual([]);
});

test('a fetch may take no longer than its time, and keeps what it has', async () => {
  const web = await hostOf(await adapterFiles({ hidden: 256 }));
  web.stalls = true;
  const room = await openRoom({ allow: [web.url], fetchMsMax: 300 });
  expect(await room.bring(`${web.url}/a`)).toMatchObject({
    code: 'source_failed',
    message: expect.stringContaining('sources.fetchMsMax'),
  });
  expect(room.news.at(-1)).toMatchObject({ phase: 'broken_off' });
});

test('a full disk is told as such, and given its room back', async (context) => {
  const web = await hostOf(await adapterFiles({ hidden: 1024, layers: 8, rank: 16 }));
  const dataDir = await scratch();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', dataDir], { stdio: 'ignore' });
  } catch {
    return context.skip('mounting a file system is not permitted here');
  }
  onTestFinished(() => void execFileSync('umount', ['-l', dataDir]));
  const room = await openRoom({ allow: [web.url] }, { dataDir });
  expect(await room.bring(`${web.url}/a`)).toMatchObject({ code: 'storage_full' });
  expect(await room.staged()).toEqual([]);
});

test('an adapter that cannot be served is refused in the words of its source, and its files go', async () => {
  const files = await adapterFiles();
  const web = await hostOf({ ...files, 'adapter_config.json': Buffer.from('{"r":') });
  const house = await houseWith({ allow: [web.url] });
  const refused = await registerFrom(house, `${web.url}/a`);
  expect(refused).toMatchObject({ status: 422, message: expect.stringContaining(`${web.url}/a#`) });
  expect(refused.message).not.toContain(join(house.home, 'data'));
  expect(await staged(house)).toEqual([]);
});

test('what goes on is told: events, metrics, and so many at once', async () => {
  const web = await hostOf(await adapterFiles({ hidden: 256 }));
  const house = await houseWith({ allow: [web.url] });
  await registerFrom(house, `${web.url}/a`);
  await registerFrom(house, `${web.url}/b?token=hush`);
  await registerFrom(house, `${web.url}/b/adapter.tar`);
  const told = house.happenings.filter((one) => one.type === 'source');
  expect(told.map(({ phase, source }) => `${phase} ${source.slice(web.url.length)}`)).toEqual([
    'begun /a',
    'fetched /a',
    'begun /b',
    'fetched /b',
    'begun /b/adapter.tar',
    'refused /b/adapter.tar',
  ]);
  const metrics = await (await fetch(`${house.running.url}/metrics`)).text();
  expect(metrics).toContain('stepgate_source_fetches_total{source="https",outcome="fetched"} 2');
  expect(metrics).toContain('stepgate_source_fetches_total{source="https",outcome="refused"} 1');
  expect(metrics).toMatch(/stepgate_source_bytes_total\{source="https"\} [1-9]/);
  const room = await openRoom({ allow: [web.url] });
  web.stalls = true;
  const left = new AbortController();
  const many = Array.from({ length: 8 }, (_, index) => room.bring(`${web.url}/${index}`, { signal: left.signal }));
  expect(await room.bring(`${web.url}/9`)).toMatchObject({ code: 'no_capacity' });
  left.abort(new StepgateError('client_closed', 'left'));
  expect((await Promise.all(many)).every(({ code }) => code === 'client_closed')).toBe(true);
  await until(() => room.news.filter(({ phase }) => phase === 'broken_off').length === 8);
});
