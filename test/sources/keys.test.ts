// Promise: the key of a source is shown to its own server alone, and never where others could read it on the way.
import { expect, test } from 'vitest';
import { readCredentials } from '../../src/access/credentials.ts';
import { parseConfig } from '../../src/config.ts';
import { rulesOf } from '../../src/sources/rules.ts';
import type { SourceKind } from '../../src/sources/uri.ts';
import { openRoom } from './room.ts';
import { startHost } from './stand-ins/host.ts';

/** What this URL is asked with, and whether it is asked at all. */
async function asked(kind: SourceKind, url: string, written: string) {
  const config = parseConfig(`sources: ${written}`, { file: undefined });
  const { sources: keys } = await readCredentials(config, (name) => `key-of-${name}`);
  const { reach, authorise } = rulesOf(kind, config.sources, keys);
  const { authorization } = await authorise(new URL(url), {});
  return { reach: reach(new URL(url)), authorization };
}

test.each([
  ['hf', '{ hf: { keyEnv: A } }', 'huggingface.co'],
  ['wandb', '{ wandb: { keyEnv: A, url: "https://wandb.example.com" } }', 'wandb.example.com'],
  ['s3', '{ s3: { keyEnv: A, url: "https://minio.example.com" } }', 'minio.example.com'],
] as const)(
  '%s: a redirect from https: to http: is not followed, be it on the same host',
  async (kind, written, host) => {
    expect(await asked(kind, `https://${host}/a`, written)).toEqual({
      reach: 'meant',
      authorization: expect.any(String),
    });
    expect(await asked(kind, `http://${host}/a`, written)).toEqual({ reach: undefined, authorization: undefined });
  },
);

test('what the CDN of a server behind https: is asked for is not asked for in the clear either', async () => {
  const written = '{ wandb: { redirects: [storage.googleapis.com] } }';
  expect(await asked('wandb', 'https://storage.googleapis.com/a', written)).toMatchObject({ reach: 'meant' });
  expect(await asked('wandb', 'http://storage.googleapis.com/a', written)).toMatchObject({ reach: undefined });
});

test.each(['hf', 's3', 'mlflow', 'wandb'])(
  'a host that is called %s is not shown the key of the kind of that name',
  async (name) => {
    const allow = `allow: ["http://${name}/"], ${name}: { keyEnv: KIND }`;
    expect(await asked('https', `http://${name}/a`, `{ ${allow} }`)).toEqual({
      reach: 'meant',
      authorization: undefined,
    });
    expect(await asked('https', `http://${name}/a`, `{ ${allow}, hosts: { ${name}: { keyEnv: HOST } } }`)).toEqual({
      reach: 'meant',
      authorization: 'Bearer key-of-HOST',
    });
  },
);

test.each(['minio_1:9000', '[::1]:9000', '[2001:db8::1]'])('%s can be written where a host is', async (host) => {
  const name = JSON.stringify(host);
  const written = `{ mlflow: { url: "http://mlflow:5000", redirects: [${name}] } }`;
  expect(await asked('mlflow', `http://${host}/a`, written)).toMatchObject({ reach: 'meant' });
  const key = `{ allow: ["http://${host}/"], hosts: { ${name}: { keyEnv: HOST } } }`;
  expect(await asked('https', `http://${host}/a`, key)).toMatchObject({ authorization: 'Bearer key-of-HOST' });
});

test('a host of https sources that refuses a key is told as such, and as one that needs a key where there is none', async () => {
  const web = await startHost(({ response }) => void response.writeHead(403).end());
  const without = await openRoom({ allow: [web.url] });
  expect((await without.bring(`${web.url}/a`)).message).toContain('needs a key: set sources.hosts.HOST.keyFile');
  const wrong = await openRoom({ allow: [web.url] }, { keys: new Map([[`hosts.${web.host}`, 'old']]) });
  expect((await wrong.bring(`${web.url}/a`)).message).toContain('the key of sources.hosts.HOST may not read it');
});
