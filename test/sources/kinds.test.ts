// Promise: an adapter of each kind of source is fetched, checked, stored and asked for, and its checkpoint says which content it is.
import { expect, test } from 'vitest';
import type { House } from '../gateway/harness.ts';
import { adapterFiles, houseWith, inFolder, keyFile, registerFrom, staged } from './house.ts';
import { type Host, send, startHost, sum } from './stand-ins/host.ts';
import { SHA, startHub } from './stand-ins/hub.ts';
import { startMlflow } from './stand-ins/mlflow.ts';
import { ACCESS, startS3 } from './stand-ins/s3.ts';
import { API_KEY, startWandb } from './stand-ins/wandb.ts';

const WEIGHTS = 'adapter_model.safetensors';

/** The simulated engine says with which weights it answers. */
async function expectServed(house: House, files: Record<string, Buffer>): Promise<void> {
  const answer = await house.ask('my-model@5');
  expect(answer).toMatchObject({ status: 200, model: 'my-model@5' });
  expect(answer.text).toContain(sum('sha256', files[WEIGHTS] ?? Buffer.alloc(0)).slice(0, 8));
  expect(await staged(house)).toEqual([]);
}

/** Nothing that could hold code was asked for. */
const expectNoPickles = (...hosts: Host[]) => {
  for (const { path } of hosts.flatMap(({ seen }) => seen)) expect(path).not.toMatch(/\.(pt|bin)\b/);
};

test('hf: the revision becomes a commit, large files come from the CDN without the token', async () => {
  const hub = await startHub();
  hub.token = 'hf_secret';
  const files = await adapterFiles({ hidden: 128 });
  hub.repos['my-org/lora'] = files;
  const hf = { url: hub.url, redirects: [hub.cdn.host], keyFile: await keyFile(hub.token) };
  const house = await houseWith({ allow: ['hf:my-org/*'], hf });
  expect(await registerFrom(house, 'hf:my-org/lora@v1.0')).toEqual({
    status: 201,
    name: 'my-model@5',
    source: `hf:my-org/lora@${SHA}`,
  });
  await expectServed(house, files);
  expectNoPickles(hub, hub.cdn);
  expect(hub.cdn.seen.length).toBeGreaterThan(0);
  for (const { headers } of hub.cdn.seen) expect(headers.authorization).toBeUndefined();
});

test('hf: a folder of a repo is an adapter too, and the only one below is found', async () => {
  const hub = await startHub();
  const files = await adapterFiles();
  hub.repos['my-org/runs'] = { ...inFolder('a/checkpoint-5', files), 'README.md': Buffer.from('# runs\n') };
  const house = await houseWith({ allow: ['hf:my-org/*'], hf: { url: hub.url, redirects: [hub.cdn.host] } });
  expect(await registerFrom(house, 'hf:my-org/runs/a/checkpoint-5')).toMatchObject({
    status: 201,
    source: `hf:my-org/runs/a/checkpoint-5@${SHA}`,
  });
  expect(await registerFrom(house, 'hf:my-org/runs')).toMatchObject({ status: 201 });
  await expectServed(house, files);
});

test('s3: signed requests, keys with odd letters, listed by pages', async () => {
  const s3 = await startS3();
  const files = await adapterFiles();
  Object.assign(s3.objects, inFolder("runs/a+b c'(1)/checkpoint-5", files));
  const settings = { url: s3.url, region: ACCESS.region, keyFile: await keyFile(`${ACCESS.id}:${ACCESS.secret}`) };
  const house = await houseWith({ allow: ['s3://ckpts/runs'], s3: settings });
  const answer = await registerFrom(house, "s3://ckpts/runs/a+b c'(1)/checkpoint-5");
  expect(answer).toMatchObject({ status: 201, source: expect.stringMatching(/^s3:\/\/ckpts\/runs\/.*#[0-9a-f]{32}$/) });
  await expectServed(house, files);
  expectNoPickles(s3);
});

test('mlflow: an alias becomes its version, its files come through the proxy', async () => {
  const mlflow = await startMlflow();
  const files = await adapterFiles();
  Object.assign(mlflow.artifacts, inFolder('1/models/m-1/artifacts/peft', files), {
    '1/models/m-1/artifacts/MLmodel': Buffer.from('flavors: {}'),
  });
  mlflow.versions['7'] = 'mlflow-artifacts:/1/models/m-1/artifacts';
  mlflow.aliases.champion = '7';
  mlflow.authorization = `Basic ${Buffer.from('me:pass').toString('base64')}`;
  const house = await houseWith({
    allow: ['mlflow:models:/my-model'],
    mlflow: { url: mlflow.url, keyFile: await keyFile('me:pass') },
  });
  expect(await registerFrom(house, 'mlflow:models:/my-model@champion')).toMatchObject({
    status: 201,
    source: 'mlflow:models:/my-model/7',
  });
  await expectServed(house, files);
  expectNoPickles(mlflow);
});

test('mlflow: a version in a bucket is fetched from there, if the bucket is allowed', async () => {
  const [mlflow, s3] = [await startMlflow(), await startS3()];
  const files = await adapterFiles();
  Object.assign(s3.objects, inFolder('mlflow/1/artifacts/peft', files));
  mlflow.versions['8'] = 's3://ckpts/mlflow/1/artifacts';
  const bucket = { url: s3.url, region: ACCESS.region, keyFile: await keyFile(`${ACCESS.id}:${ACCESS.secret}`) };
  const sources = { allow: ['mlflow:models:/my-model'], mlflow: { url: mlflow.url }, s3: bucket };
  const house = await houseWith(sources);
  expect(await registerFrom(house, 'mlflow:models:/my-model/8')).toMatchObject({
    status: 403,
    code: 'source_not_allowed',
    message: expect.stringContaining('"s3://ckpts/mlflow/1/artifacts"'),
  });
  await house.reload({ sources: { ...sources, allow: [...sources.allow, 's3://ckpts/mlflow'] } });
  expect(await registerFrom(house, 'mlflow:models:/my-model/8')).toMatchObject({
    status: 201,
    source: expect.stringMatching(/^mlflow:models:\/my-model\/8#[0-9a-f]{32}$/),
  });
  await expectServed(house, files);
});

test.each(['V1', 'V2'] as const)(
  'wandb: an alias becomes its version, files come from storage without the key (layout %s)',
  async (layout) => {
    const wandb = await startWandb();
    wandb.layout = layout;
    const files = await adapterFiles();
    Object.assign(wandb.files, files);
    wandb.references.push('optimizer.pt');
    const settings = { url: wandb.url, redirects: [wandb.storage.host], keyFile: await keyFile(API_KEY) };
    const house = await houseWith({ allow: ['wandb:team/runs'], wandb: settings });
    expect(await registerFrom(house, 'wandb:team/runs/my-model:best')).toMatchObject({
      status: 201,
      source: 'wandb:team/runs/my-model:v3',
    });
    await expectServed(house, files);
  },
);

test('wandb: a digest of another algorithm is not taken for an MD5', async () => {
  const wandb = await startWandb();
  wandb.isXxh = true;
  const files = await adapterFiles({ hidden: 128 });
  Object.assign(wandb.files, files);
  const settings = { url: wandb.url, redirects: [wandb.storage.host], keyFile: await keyFile(API_KEY) };
  const house = await houseWith({ allow: ['wandb:team/runs'], wandb: settings });
  expect(await registerFrom(house, 'wandb:team/runs/my-model:v3')).toMatchObject({ status: 201 });
  await expectServed(house, files);
});

test('https: a folder is asked for by names, a signature goes along and is written down nowhere', async () => {
  const files = await adapterFiles();
  const web = await startHost(({ url, request, response, host }) => {
    const bytes = files[url.pathname.slice('/a/b/'.length)];
    if (url.searchParams.get('sig') !== 'hush' || request.headers.authorization !== 'Bearer t0ken')
      return void response.writeHead(403).end();
    if (bytes === undefined) return void response.writeHead(404).end();
    send(host, request, response, { bytes, etag: `"${sum('sha1', bytes)}"` });
  });
  const house = await houseWith({
    allow: [`${web.url}/a/`],
    hosts: { [web.host]: { keyFile: await keyFile('t0ken') } },
  });
  const answer = await registerFrom(house, `${web.url}/a/b?sig=hush`);
  expect(answer).toMatchObject({ status: 201, source: `${web.url}/a/b#${sum('sha1', files[WEIGHTS] ?? '')}` });
  await expectServed(house, files);
  expect(JSON.stringify([(await house.admin('GET', '/audit')).body, house.happenings])).not.toMatch(/hush|t0ken/);
});
