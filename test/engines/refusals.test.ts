// What is asked wrongly starts nothing, and says what to do.
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { findPort } from '../../src/engines/ports.ts';
import { engineHouse, up, upAsk, VLLM_LIKE } from './house.ts';

const messageOf = ({ status, body }: { status: number; body: unknown }) =>
  `${status} ${(body as { error?: { message: string } }).error?.message}`;

test('names, checkpoints and commands that lead nowhere', async () => {
  const house = await engineHouse({
    config: { engines: { command: VLLM_LIKE, commands: { own: ['nothing-of-this-name'] } } },
  });
  await house.write(1);
  await house.write(2, { base: '/models/gone' });
  await house.write(3, { base: '../relative' });
  await house.write(4, { flaw: 'dora' });
  await mkdir(join(house.home, 'empty'));
  const asked = async (more: Record<string, unknown>) => messageOf(await upAsk(house, more));
  expect(await asked({ checkpoint: 'my-model@9' })).toMatch(/^404 .*nearest: .*my-model@3/);
  expect(await asked({ checkpoint: 'my-modle@1' })).toMatch(/^404 .*Known: my-model/);
  expect(await asked({ checkpoint: 'my-model@4' })).toMatch(/^422 .*DoRA/i);
  expect(await asked({ checkpoint: 'my-model@2' })).toMatch(/^400 .*\/models\/gone.* no director.*--root PATH/);
  expect(await asked({ checkpoint: 'my-model@3' })).toMatch(/^400 .*--root PATH/);
  expect(await asked({ root: '/models/gone' })).toMatch(/^400 .*--root PATH/);
  expect(await asked({ checkpoint: join(house.home, 'none') })).toMatch(/^422 There is no directory/);
  expect(await asked({ checkpoint: join(house.home, 'empty') })).toMatch(/^422 .*has no adapter_config\.json/);
  expect(await asked({ checkpoint: join(house.runs, 'checkpoint-1') })).toMatch(/^422 .*stepgate register/);
  expect(await asked({ command: 'own' })).toMatch(/^400 nothing-of-this-name is not on the gateway's PATH/);
  expect(await asked({ command: 'vllm serve' })).toMatch(
    /^400 vllm is not on the gateway's PATH: install vLLM .*--engine-command/,
  );
  expect(await asked({ command: '/no/vllm serve' })).toMatch(/^400 \/no\/vllm is no program/);
  expect(await asked({ command: './vllm serve' })).toMatch(/^400 write the whole path of \.\/vllm/);
  expect(await asked({ command: 'vllm "serve' })).toMatch(/^400 .*a quote in it does not end/);
  expect(await asked({ flags: ['--api-key', 'x'] })).toMatch(/^400 --api-key is not taken/);
  expect(await asked({ name: '../x' })).toMatch(/^400 `name`: letters/);
  expect(await asked({ flags: ['a\0b'] })).toMatch(/^400 `flags\.0`: holds a NUL/);
  expect(await asked({ wiat: 1 })).toMatch(/^400 .*wiat/);
  expect((await house.admin('GET', '/engines')).body).toEqual({ data: [] });
  expect((await house.admin('DELETE', '/engines/none')).body).toMatchObject({
    error: { code: 'backend_not_found', message: 'the gateway started no engine "none"; there is none' },
  });
  expect(messageOf(await house.admin('DELETE', '/backends/none'))).toBe(
    '404 there is no backend "none"; there is none',
  );
  expect((await house.admin('GET', '/engines/%2e%2e%2fx/log')).status).toBe(404);
});

test('a program that is none is told when it is started', async () => {
  const house = await engineHouse();
  await house.write(1);
  const program = join(house.home, 'broken');
  await writeFile(program, '#!/no/such/interpreter\n');
  await chmod(program, 0o755);
  expect((await upAsk(house, { command: program })).status).toBe(202);
  await expect
    .poll(async () => (await house.admin('GET', '/engines/mine')).body)
    .toMatchObject({
      state: 'failed',
      about: expect.stringContaining('ENOENT'),
    });
});

test('a name or a port that is taken', async () => {
  const house = await engineHouse({ engines: [{}] });
  await house.write(1);
  const server = createServer();
  const port = await new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port)),
  );
  const taken = `409 port ${port} is taken ("lsof -i :${port}" says by whom)`;
  expect(messageOf(await upAsk(house, { own: true, port }))).toMatch(taken);
  expect(messageOf(await upAsk(house, { own: true, flags: [`--port=${port}`] }))).toMatch(taken);
  server.close();
  expect(messageOf(await upAsk(house, { own: true, name: 'gpu-0' }))).toMatch('409 there is a backend "gpu-0" already');
  const { url } = await up(house, { own: true });
  expect(messageOf(await upAsk(house, { own: true }))).toMatch('409 there is an engine "mine" already (up)');
  const same = { own: true, name: 'b', port: Number(new URL(url).port) };
  expect(messageOf(await upAsk(house, same))).toMatch('is taken (backend "mine")');
  const flags = ['--port', String(new URL(house.sims[0]?.url ?? '').port)];
  expect(messageOf(await upAsk(house, { own: true, name: 'b', flags }))).toMatch('is taken (backend "gpu-0")');
  const twice = await Promise.all([1, 2].map(() => upAsk(house, { own: true, name: 'two' })));
  expect(twice.map(({ status }) => status).sort()).toEqual([202, 409]);
});

test('engines that are asked for at once are given a port each, and none that a backend of the config has, also while that is down', async () => {
  const free = (await findPort(() => true)) ?? 0;
  const house = await engineHouse({ urls: [`http://localhost:${free}`] });
  await house.write(1);
  const asked = await Promise.all(['a', 'b', 'c'].map((name) => upAsk(house, { name })));
  const urls = asked.map(({ status, body }) => `${status} ${(body as { url?: string }).url}`);
  expect(urls).toHaveLength(new Set(urls).size);
  for (const url of urls) expect(url).toMatch(/^202 http:\/\/127\.0\.0\.1:\d+$/);
  expect(urls).not.toContain(`202 http://127.0.0.1:${free}`);
  const flags = ['--port', `${free}`];
  expect(messageOf(await upAsk(house, { name: 'd', flags }))).toMatch(`port ${free} is taken (backend "gpu-0")`);
});

test('where the config says that none is started, none is; where others reach the admin listener, commands have names', async () => {
  const house = await engineHouse({
    config: { engines: { command: VLLM_LIKE, commands: { named: VLLM_LIKE }, enabled: false } },
  });
  await house.write(1);
  expect(messageOf(await upAsk(house))).toBe('403 engines.enabled in the config says that none is started here');

  const { key } = (await house.admin('POST', '/keys', { name: 'root', scopes: ['admin'] })).body as {
    key: string;
  };
  await house.running.close({ now: true });
  const open = { admin: '0.0.0.0:0', access: { hosts: ['127.0.0.1'] } };
  const ask = async (config: Record<string, unknown>, more: Record<string, unknown> = {}) => {
    const there = await engineHouse({
      home: house.home,
      config: { ...open, engines: { command: VLLM_LIKE, ...config } },
    });
    const response = await fetch(`${there.running.adminUrl.replace('0.0.0.0', '127.0.0.1')}/admin/v1/engines`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify({ name: 'mine', checkpoint: 'my-model@1', ...more }),
    });
    const answer = messageOf({ status: response.status, body: await response.json() });
    for (const { row } of there.running.engines.all())
      await there.running.engines.down(row.name, { who: 'a test', force: true });
    await there.running.close({ now: true });
    return answer;
  };
  expect(await ask({})).toMatch(/^403 the admin listener can be reached by others.*engines\.enabled: true/);
  const enabled = { enabled: true, commands: { named: VLLM_LIKE } };
  expect(await ask(enabled, { command: VLLM_LIKE.join(' ') })).toMatch(
    /^403 --engine-command takes a name .* there are named/,
  );
  expect(await ask(enabled, { command: 'named' })).toMatch(/^202/);
});

test('one that is asked for as the gateway ends is not started', async () => {
  const house = await engineHouse();
  await house.write(1);
  const { engines, gateway } = house.running;
  const asked = engines.up({ name: 'mine', checkpoint: 'my-model@1', waitMs: 10_000, own: false, flags: [] }, 'a test');
  const answer = expect(asked).rejects.toMatchObject({ code: 'shutting_down' });
  await engines.close();
  await answer;
  expect([engines.all(), gateway.registry.others.engines()]).toEqual([[], []]);
});
