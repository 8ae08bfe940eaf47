import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { expect, test } from 'vitest';
import { startSim } from '../../src/sim/sim.ts';
import { FAST, setUp } from './harness.ts';

test('an engine behind a path of its own is reached under it, for loads and for requests', async () => {
  const sim = await startSim(FAST);
  const paths: string[] = [];
  const proxy = createServer((incoming, response) => {
    paths.push(incoming.url ?? '');
    const path = incoming.url?.replace(/^\/engines\/a/, '') ?? '/';
    const onward = request(`${sim.url}${path}`, { method: incoming.method, headers: incoming.headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    incoming.pipe(onward).on('error', () => response.destroy()); // the last probe, when the engine ends
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  try {
    const { port } = proxy.address() as { port: number };
    const house = await setUp({ urls: [`http://127.0.0.1:${port}/engines/a/`] });
    await house.write(10);
    expect(await house.ask('my-model@10')).toMatchObject({ status: 200, model: 'my-model@10' });
    expect(paths.every((path) => path.startsWith('/engines/a/'))).toBe(true);
  } finally {
    proxy.closeAllConnections();
    proxy.close();
    await sim.close();
  }
});
