// Engines that the gateway starts itself, from the admin API: each is a real process behind vLLM's command line.
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { isFree, portOf } from '../../src/engines/ports.ts';
import { startSim } from '../../src/sim/sim.ts';
import { rowsOf } from '../faults/row.ts';
import { FAST, type House, until } from '../gateway/harness.ts';
import {
  backendsOf,
  changed,
  childrenOf,
  engineHouse,
  engineOf,
  freePort,
  houseWithStep,
  lives,
  refusing,
  reopened,
  settled,
  up,
  upAsk,
} from './house.ts';

describe('up', () => {
  test('starts an engine for a checkpoint, and it is asked like any other; down ends all of it but its log', async () => {
    const house = await houseWithStep();
    const { pid, url, log } = await up(house, { flags: ['--max-loras', '3', '--sim-child'] });
    expect(await house.ask('my-model@1')).toMatchObject({ status: 200, model: 'my-model@1' });
    expect(await backendsOf(house)).toMatchObject([{ name: 'mine', from: 'engine', state: 'up', slots: 3 }]);
    const children = childrenOf(pid);
    expect(children).toHaveLength(1);

    expect(await house.admin('DELETE', '/engines/mine')).toEqual({ status: 200, body: { name: 'mine', ended: true } });
    expect([pid, ...children].map(lives)).toEqual([false, false]);
    expect(await isFree(portOf(url))).toBe(true);
    expect([await backendsOf(house), (await house.admin('GET', '/engines')).body]).toEqual([[], { data: [] }]);
    expect(await (await fetch(`${house.running.adminUrl}/admin/v1/engines/mine/log`)).text()).toContain(
      'startup complete',
    );
    expect((await stat(log)).isFile()).toBe(true);
    expect((await house.admin('DELETE', '/engines/mine')).status).toBe(404);
  });

  test('starts none where a running backend serves it, and says which; unless it is drained, or too small, or asked for', async () => {
    const house = await houseWithStep({ engines: [{}] });
    expect(await upAsk(house)).toEqual({
      status: 200,
      body: { servedBy: 'gpu-0', model: 'my-model@1', url: house.running.url },
    });
    await house.admin('POST', '/backends/gpu-0/drain', { force: true });
    await up(house);
    await house.admin('DELETE', '/engines/mine');
    await house.admin('DELETE', '/backends/gpu-0/drain');
    await house.reload({ backends: [{ name: 'gpu-0', url: house.sims[0]?.url, rankMax: 4 }] });
    await up(house, { own: true });
    expect((await backendsOf(house)).map(({ name }) => name)).toEqual(['gpu-0', 'mine']);
  });

  test('a full model is served under the name of its engine', async () => {
    const house = await engineHouse();
    await writeFile(join(house.home, 'config.json'), '{"architectures":["LlamaForCausalLM"]}');
    await up(house, { checkpoint: house.home });
    expect(await house.ask('mine')).toMatchObject({ status: 200, model: 'mine' });
    const { argv } = (await engineOf(house)) as unknown as { argv: string[] };
    expect(argv).not.toContain('--enable-lora');
  });

  test('an engine of a full model has no room for adapters: one is started for a checkpoint on the same base, and is given it', async () => {
    const house = await houseWithStep();
    await writeFile(join(house.home, 'config.json'), '{"architectures":["LlamaForCausalLM"]}');
    await up(house, { name: 'full', checkpoint: house.home });
    await up(house);
    const { status, headers } = await house.ask('my-model@1');
    expect([status, headers.get('x-stepgate-backend')]).toEqual([200, 'mine']);
  });

  test('a full model that comes up is no second base on which a checkpoint might be served', async () => {
    const house = await houseWithStep();
    await up(house);
    expect(await house.ask('my-model@1')).toMatchObject({ status: 200 });
    const dir = join(house.home, 'merged');
    await mkdir(dir);
    await writeFile(join(dir, 'config.json'), '{"architectures":["LlamaForCausalLM"]}');
    await up(house, { name: 'merged', checkpoint: dir });
    expect(await house.ask('merged')).toMatchObject({ status: 200, model: 'merged' });
    expect(await house.ask('my-model@1')).toMatchObject({ status: 200, model: 'my-model@1' });
    await house.write(2);
    await until(async () => (await house.ask('my-model@2')).status === 200);
  });

  test('an id leads to its checkpoint', async () => {
    const house = await houseWithStep();
    const id = house.running.gateway.registry.catalog.find('my-model@1')?.id;
    expect(await engineOf(house, (await up(house, { checkpoint: id })).name)).toMatchObject({ model: 'my-model@1' });
  });
});

describe('one that does not get ready leaves nothing but its log', () => {
  const nothingIsLeft = async (house: House, port: number) => {
    expect(await isFree(port)).toBe(true);
    expect([await backendsOf(house), (await house.admin('GET', '/engines')).body]).toEqual([[], { data: [] }]);
    expect(house.running.gateway.registry.others.engines()).toEqual([]);
  };

  test('it ends: its last lines and its exit code are told', async () => {
    const house = await houseWithStep();
    const port = await freePort();
    await upAsk(house, { port, flags: ['--sim-exit', '3'] });
    const { state, about, lines } = await settled(house);
    expect([state, about, lines.at(-1)]).toEqual([
      'failed',
      'it ended with code 3',
      'RuntimeError: CUDA out of memory',
    ]);
    await nothingIsLeft(house, port);
    await up(house, { port });
  });

  test('it does not answer in time: it is ended, with what it started', async () => {
    const house = await houseWithStep();
    const port = await freePort();
    const asked = await upAsk(house, { port, waitMs: 4_000, flags: ['--sim-silent', '--sim-child'] });
    await until(async () => (await engineOf(house)).pid !== null);
    const pid = (await engineOf(house)).pid ?? 0;
    await until(() => childrenOf(pid).length === 1);
    const children = childrenOf(pid);
    const { about } = await settled(house);
    expect([asked.status, about]).toEqual([
      202,
      `it was not ready within 4 s (nothing listens at http://127.0.0.1:${port})`,
    ]);
    expect([pid, ...children].map(lives)).toEqual([false, false]);
    await nothingIsLeft(house, port);
  });

  test('it is ready, but that cannot be written down', async () => {
    const house = await changed(await houseWithStep(), refusing('serving'));
    const port = await freePort();
    await upAsk(house, { port });
    expect(await settled(house)).toMatchObject({ state: 'failed', about: 'no' });
    await until(async () => (await backendsOf(house)).length === 0);
    await nothingIsLeft(house, port);
  });

  test('it is taken down before', async () => {
    const house = await houseWithStep();
    const port = await freePort();
    await upAsk(house, { port, flags: ['--sim-silent'] });
    await until(async () => (await engineOf(house)).pid !== null);
    const { pid } = await engineOf(house);
    expect((await house.admin('DELETE', '/engines/mine')).status).toBe(200);
    expect(lives(pid ?? 0)).toBe(false);
    await nothingIsLeft(house, port);
    expect(await engineOf(house)).toMatchObject({ state: 'failed', about: 'somebody ended it' });
  });
});

const row = rowsOf('operations');

row(
  {
    fault: 'an engine that the gateway started is killed',
    required: 'it is started again on its port, when what it has left behind is ended; it serves what it served',
    mechanism: '`engines/engine.ts`; `engines/processes.ts`',
  },
  async () => {
    const house = await houseWithStep();
    const { pid, url } = await up(house, { flags: ['--sim-child'] });
    await house.ask('my-model@1');
    const children = childrenOf(pid);
    process.kill(pid, 'SIGKILL');
    await until(async () => (await engineOf(house)).state === 'restarting');
    expect((await engineOf(house)).about).toBe('it was ended by SIGKILL');
    await until(async () => (await engineOf(house)).state === 'up', 12_000);
    const again = await engineOf(house);
    expect([again.url, again.pid === pid]).toEqual([url, false]);
    await until(async () => (await house.ask('my-model@1')).status === 200);
    const left = children.filter(lives).length;
    return `started again ${again.restarts} time, on the same port; ${left} of ${children.length} processes left of the one before; 200`;
  },
  30_000,
);

test('one that ends where the config says by now that none is started is not started again, until it says otherwise', async () => {
  const house = await houseWithStep();
  const { pid } = await up(house);
  await house.reload({ engines: { enabled: false } });
  expect(await house.ask('my-model@1')).toMatchObject({ status: 200 });
  process.kill(pid, 'SIGKILL');
  await until(async () => (await engineOf(house)).about?.startsWith('engines.enabled in the config') === true);
  expect(await engineOf(house)).toMatchObject({ state: 'restarting', pid: null });
  await house.reload({ engines: { enabled: true } });
  await until(async () => (await engineOf(house)).state === 'up', 12_000);
}, 30_000);

describe('when the gateway ends and comes again', () => {
  row(
    {
      fault: 'the gateway ends and comes again while an engine that it started runs',
      required: 'the engine goes on, is found again and not doubled, and is watched as before',
      mechanism: '`engines/processes.ts`: number and birth, else the log that it writes',
    },
    async () => {
      const house = await houseWithStep();
      const { pid } = await up(house);
      const next = await reopened(house);
      await until(async () => (await engineOf(next)).state === 'up');
      const found = await engineOf(next);
      const { status } = await next.ask('my-model@1');
      process.kill(pid, 'SIGKILL');
      await until(async () => (await engineOf(next)).restarts === 1, 12_000);
      expect(lives(pid)).toBe(false);
      return `${found.pid === pid ? 'the same process' : 'another process'}, ${found.restarts} restarts, ${status}; killed then, it is started again`;
    },
    30_000,
  );

  test('one that has ended meanwhile is started again', async () => {
    const house = await houseWithStep();
    const { pid } = await up(house);
    await house.running.close({ now: true });
    process.kill(pid, 'SIGKILL');
    const next = await reopened(house);
    await until(async () => (await engineOf(next)).state === 'up', 12_000);
    expect(await engineOf(next)).toMatchObject({ restarts: 1 });
    expect((await engineOf(next)).pid).not.toBe(pid);
  });

  test('one whose port another program has taken meanwhile waits for it: who listens there is not taken for the engine', async () => {
    const house = await houseWithStep();
    const { pid, url } = await up(house);
    await house.running.close({ now: true });
    process.kill(pid, 'SIGKILL');
    await until(() => isFree(portOf(url)));
    const other = await startSim({ ...FAST, port: portOf(url) });
    const next = await reopened(house);
    await until(async () => (await engineOf(next)).state === 'restarting');
    expect((await engineOf(next)).about).toBe(`its port ${portOf(url)} is taken by another program`);
    await other.close();
    await until(async () => (await engineOf(next)).state === 'up', 12_000);
  });

  test('a start that was under way goes on', async () => {
    const house = await houseWithStep();
    await upAsk(house, { port: await freePort(), flags: ['--sim-start-ms', '2000'] });
    await until(async () => (await engineOf(house)).pid !== null);
    const { pid } = await engineOf(house);
    const next = await reopened(house);
    expect(await engineOf(next)).toMatchObject({ state: 'starting', pid });
    expect(await settled(next)).toMatchObject({ state: 'up', pid });
    expect(await next.ask('my-model@1')).toMatchObject({ status: 200 });
  });

  test('a process whose number nobody wrote down is found by the log that it writes', async () => {
    const house = await houseWithStep();
    const { pid } = await up(house);
    const { others } = house.running.gateway.registry;
    const [row] = others.engines();
    await house.running.engines.close();
    if (row !== undefined) others.commit([{ kind: 'engineChanged', engine: { ...row, process: undefined } }]);
    const next = await reopened(house);
    await until(async () => (await engineOf(next)).state === 'up');
    expect(await engineOf(next)).toMatchObject({ pid, restarts: 0 });
  });

  test('one that is too busy to answer at once is waited for, however old it is', async () => {
    const house = await houseWithStep();
    const { pid } = await up(house, { waitMs: 10_000 });
    const { others } = house.running.gateway.registry;
    const [row] = others.engines();
    await house.running.engines.close();
    if (row !== undefined) others.commit([{ kind: 'engineChanged', engine: { ...row, createdAtMs: 1 } }]);
    process.kill(pid, 'SIGSTOP');
    const next = await reopened(house);
    const from = (await engineOf(next)).state;
    // A look takes two seconds: the first one comes to nothing.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    expect([from, await engineOf(next)]).toEqual(['starting', expect.objectContaining({ state: 'starting', pid })]);
    process.kill(pid, 'SIGCONT');
    await until(async () => (await engineOf(next)).state === 'up');
    expect(await engineOf(next)).toMatchObject({ pid, restarts: 0 });
  }, 30_000);

  test('one whose log somebody deleted is found by its number', async () => {
    const house = await houseWithStep();
    const { pid, log } = await up(house);
    await house.running.engines.close();
    await rm(log);
    const next = await reopened(house);
    await until(async () => (await engineOf(next)).state === 'up');
    expect(await engineOf(next)).toMatchObject({ pid, restarts: 0, lines: [] });
  });

  test('one that was being ended is ended', async () => {
    const house = await houseWithStep();
    const { pid } = await up(house);
    const { others } = house.running.gateway.registry;
    const [row] = others.engines();
    await house.running.engines.close();
    if (row !== undefined) others.commit([{ kind: 'engineChanged', engine: { ...row, phase: 'stopping' } }]);
    const next = await reopened(house);
    await until(() => !lives(pid));
    await until(() => next.running.engines.all().length === 0);
    expect([await backendsOf(next), next.running.gateway.registry.others.engines()]).toEqual([[], []]);
  });

  test('a start that ended meanwhile is cleaned away', async () => {
    const house = await houseWithStep();
    await upAsk(house, { port: await freePort(), flags: ['--sim-silent'] });
    await until(async () => (await engineOf(house)).pid !== null);
    const { pid } = await engineOf(house);
    await house.running.close({ now: true });
    process.kill(pid ?? 0, 'SIGKILL');
    const next = await reopened(house);
    await until(async () => (await engineOf(next)).state === 'failed');
    expect((await next.admin('GET', '/engines')).body).toEqual({ data: [] });
  });
});

test('logs that are followed end when the engine is ended', async () => {
  const house = await houseWithStep();
  await up(house, { flags: ['--sim-chatty'] });
  const response = await fetch(`${house.running.adminUrl}/admin/v1/engines/mine/log?follow=true&lines=1`);
  let text = '';
  const reading = (async () => {
    for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) text += piece;
  })();
  await until(() => text.split('tick').length > 5);
  await house.admin('DELETE', '/engines/mine');
  await reading;
  const ticks = [...text.matchAll(/tick (\d+)/g)].map(([, at]) => Number(at));
  expect(ticks).toEqual([...new Set(ticks)].sort((a, b) => a - b));
});
