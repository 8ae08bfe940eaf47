// Promise: the gateway goes nowhere that the config does not allow, shows a key to nobody but its host, takes no more than it may, and says
// what to do about each.
import { expect, test } from 'vitest';
import { isPublic } from '../../src/sources/addresses.ts';
import { adapterFiles, houseWith, keyFile, registerFrom, staged } from './house.ts';
import { openRoom } from './room.ts';
import { hostOf, startHost } from './stand-ins/host.ts';
import { startHub } from './stand-ins/hub.ts';
import { ACCESS, startS3 } from './stand-ins/s3.ts';

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

test('a name that nothing can be registered under is refused before anything is fetched for it', async () => {
  const web = await hostOf(await adapterFiles());
  const house = await houseWith({ allow: [web.url] });
  const [base] = house.running.gateway.registry.catalog.bases;
  for (const [name, code] of [
    ['my,model@5', 'invalid_request'],
    ['my-model@latest', 'invalid_request'],
    [base?.name ?? '', 'conflict'],
  ] as const)
    expect(await registerFrom(house, `${web.url}/a`, name), name).toMatchObject({ code });
  expect(web.seen).toEqual([]);
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
  location = web.url.replace('//', '//user:hunter2@');
  const { code, message } = await room.bring(`${web.url}/a`);
  expect(code).toBe('source_failed');
  expect(message).not.toContain('hunter2');
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
  '64:ff9b:1::a00:1',
  '::ffff:0:10.0.0.1',
  '::127.0.0.1',
  '2002:a00:1::1',
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
