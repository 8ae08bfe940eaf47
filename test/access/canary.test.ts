// Secrets appear nowhere: a real gateway process that logs everything is given keys of every kind, good and bad, in every place where a
// caller may put one; then every byte that it said, answered or wrote is searched for them.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startSim } from '../../src/sim/sim.ts';
import { begin, run } from '../cli/run.ts';

const UPSTREAM_FILE = 'canary-of-the-key-file-5c1f';
const UPSTREAM_ENV = 'canary-of-the-environment-77ab';
const FOREIGN = 'sk-canary-of-another-provider-90de';

/** Every file under the directory, as latin1: a character per byte. */
async function bytesUnder(directory: string): Promise<string> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const texts = await Promise.all(files.map(({ parentPath, name }) => readFile(join(parentPath, name), 'latin1')));
  return texts.join('\n');
}

test('no secret is in a log, an answer, a metric, the data directory or the arguments', async () => {
  const home = await mkdtemp(join(tmpdir(), 'stepgate-canary-'));
  const sim = await startSim({});
  onTestFinished(async () => {
    await sim.close();
    await rm(home, { recursive: true });
  });
  await writeFile(join(home, 'engine.key'), UPSTREAM_FILE);
  const file = join(home, 'stepgate.yaml');
  const engines = `backends:
  - { name: a, url: "${sim.url}", keyFile: engine.key }
  - { name: b, url: "http://127.0.0.1:9", keyEnv: ENGINE_KEY }`;
  await writeFile(file, `listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ndata: data\n${engines}\n`);
  const gateway = begin(['serve', '--config', file, '--log-level', 'trace'], { ENGINE_KEY: UPSTREAM_ENV });
  onTestFinished(() => void gateway.process.kill('SIGKILL'));
  const [, url = ''] = await gateway.says(/stepgate serves at (http:\/\/[\d.:]+)\/v1/);
  const [, admin = ''] = await gateway.says(/admin +(http:\/\/[\d.:]+)/);

  const keys = (args: readonly string[], key = '') => run(['keys', ...args, '--admin', admin], { STEPGATE_KEY: key });
  const root = (await keys(['root', '--scope', 'admin,use,publish'])).out.trim();
  const use = (await keys(['ci', '--rate', '3'], root)).out.trim();
  const id = use.slice(3, 15);
  const rotated = (await keys(['--rotate', id], root)).out.trim();
  const wrong = `${use.slice(0, -4)}AAAA`;
  const secrets = [root, use, rotated, wrong].map((key) => key.split('.')[1] ?? key);
  expect(new Set(secrets).size).toBe(4);

  const made = await run(['deploy', 'hello', '--target', 'base', '--admin', admin], { STEPGATE_KEY: root });
  expect(made.code, made.err).toBe(0);
  const answers: string[] = [];
  const ask = async (path: string, headers: Record<string, string>, body?: unknown) => {
    const response = await fetch(path.startsWith('/admin') ? admin + path : url + path, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    answers.push(JSON.stringify([...response.headers]), await response.text());
    return response.status;
  };
  const hello = { model: 'base', messages: [{ role: 'user', content: 'hi' }] };
  const seen = new Set<number>();
  for (const key of [root, use, rotated, wrong, FOREIGN]) {
    for (const headers of [{ authorization: `Bearer ${key}` }, { 'x-api-key': key }, { 'api-key': key }]) {
      seen.add(await ask('/v1/chat/completions', headers, hello));
      seen.add(await ask('/v1/chat/completions', headers, { ...hello, model: 'nobody@5' }));
      seen.add(await ask('/v1/models', headers));
      seen.add(await ask('/admin/v1/keys', headers));
      seen.add(await ask('/v1/deployments/hello/predict', {}, { accessKey: key, request: { prompt: 'hi' } }));
      seen.add(
        await ask(`/v1/deployments/hello/predict?accessKey=${key}`, {}, { accessKey: key, nonsense: key.length }),
      );
      seen.add(await ask('/v1/load_lora_adapter', headers, { lora_name: 'm@1', lora_path: '/nowhere' }));
    }
  }
  const asRoot = { authorization: `Bearer ${root}` };
  for (const path of ['/metrics', '/ready', '/admin/v1/audit', '/admin/v1/backends'])
    expect(await ask(path, asRoot)).toBe(200);
  expect([...seen].sort()).toEqual([200, 400, 401, 403, 404, 429]);
  const listing = await keys([], root);
  const arguments_ = await readFile(`/proc/${gateway.process.pid}/cmdline`, 'latin1').catch(() => '');
  const living = await bytesUnder(join(home, 'data'));
  gateway.process.kill('SIGTERM');
  const { out, err } = await gateway.ended;
  const places = {
    log: out + err,
    answers: answers.join('\n'),
    listing: listing.out + listing.err,
    arguments: arguments_,
    'data while it runs': living,
    'data after it ended': await bytesUnder(join(home, 'data')),
  };
  expect(places.log).toContain('request refused');
  expect(places['data after it ended']).toContain(id);
  for (const [place, text] of Object.entries(places))
    for (const secret of [...secrets, UPSTREAM_FILE, UPSTREAM_ENV, FOREIGN])
      expect(text.includes(secret), `${secret} in the ${place}`).toBe(false);
}, 60_000);
