import { join } from 'node:path';
import { expect, test } from 'vitest';
import { StepgateError } from '../../src/errors.ts';
import { until } from '../gateway/harness.ts';
import { adapterFiles, houseWith, registerFrom, staged } from './house.ts';
import { openRoom } from './room.ts';
import { hostOf, startHost } from './stand-ins/host.ts';
import { SHA, startHub } from './stand-ins/hub.ts';
import { startS3 } from './stand-ins/s3.ts';
import { API_KEY, startWandb } from './stand-ins/wandb.ts';

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
  const unset = await openRoom({ allow: ['mlflow:models:'] });
  expect(await unset.bring('mlflow:models:/a/1')).toMatchObject({
    code: 'checkpoint_invalid',
    message: expect.stringContaining('set sources.mlflow.url'),
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

const JSON_TYPE = { 'content-type': 'application/json' };

test.each([
  '[null]',
  '[{"type":"file"}]',
  '[{"type":"file","path":7,"size":1}]',
  '[{"type":"file","path":"a","size":"1"}]',
])('a Hub that lists %s is none', async (rows) => {
  const web = await startHost(({ url, response }) => {
    const about = JSON.stringify({ id: 'my-org/lora', sha: SHA });
    response.writeHead(200, JSON_TYPE).end(url.pathname.includes('/tree/') ? rows : about);
  });
  const room = await openRoom({ allow: ['hf:my-org'], hf: { url: web.url } });
  expect(await room.bring('hf:my-org/lora')).toMatchObject({
    code: 'source_failed',
    message: expect.stringContaining('not as the Hub does'),
  });
});

const artifact = (directUrl: string) => ({
  data: {
    project: { artifact: { versionIndex: 3, state: 'COMMITTED', currentManifest: { file: { directUrl } } } },
  },
});
test.each([
  [200, { errors: [{ message: 'permission denied' }], data: null }, 'It says: "permission denied"'],
  [404, { errors: [{ message: 'project not found' }] }, 'It says: "project not found"'],
  [200, artifact('/manifest'), 'not as W&B does'],
])('W&B that answers %i with %j is told in its own words, or as none', async (status, said, about) => {
  const web = await startHost(({ response }) => void response.writeHead(status, JSON_TYPE).end(JSON.stringify(said)));
  const room = await openRoom({ allow: ['wandb:a'], wandb: { url: web.url } });
  expect(await room.bring('wandb:a/b/c:v3')).toMatchObject({
    code: expect.stringMatching(/^source_/),
    message: expect.stringContaining(about),
  });
});

test('an artifact of W&B that only refers to files elsewhere is told as such', async () => {
  const wandb = await startWandb();
  Object.assign(wandb.files, await adapterFiles());
  wandb.references.push(...Object.keys(wandb.files));
  const settings = { url: wandb.url, redirects: [wandb.storage.host] };
  const room = await openRoom({ allow: ['wandb:team'], wandb: settings }, { keys: new Map([['wandb', API_KEY]]) });
  expect((await room.bring('wandb:team/runs/my-model:v3')).message).toContain(
    'only refers to files that are elsewhere',
  );
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
