// An engine that mounts the adapter store under another path than the gateway's: told that path, believed by that path.
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startSim } from '../../src/sim/sim.ts';
import { FAST, setUp, until, weightsOf } from '../gateway/harness.ts';

test('a backend with a storePath loads from there, and what it lists there is ours also after a restart of the gateway', async () => {
  const home = await mkdtemp(join(tmpdir(), 'stepgate-map-'));
  onTestFinished(() => rm(home, { recursive: true, force: true }));
  const mount = join(home, 'mount');
  await symlink(join(home, 'data', 'adapters'), mount);
  const sim = await startSim(FAST);
  onTestFinished(() => sim.close());
  const house = await setUp({
    home,
    latest: 'published',
    config: { backends: [{ name: 'gpu-0', url: sim.url, storePath: `${mount}/` }] },
  });
  const written = await house.write(5);
  const answer = await house.ask('my-model@5');
  expect(answer).toMatchObject({ status: 200, model: 'my-model@5' });
  expect(answer.text).toContain(await weightsOf(written));
  const digest = house.running.gateway.registry.catalog.find('my-model@5')?.adapter?.digest;
  const listed = (await (await fetch(`${sim.url}/v1/models`)).json()) as { data: { id: string; root: string }[] };
  expect(listed.data.find(({ id }) => id === 'my-model@5')?.root).toBe(join(mount, String(digest)));
  const again = await house.restart();
  await until(() => again.running.gateway.router.state.backends.get('gpu-0' as never)?.held.size === 1);
  expect((await again.ask('my-model@5')).headers.get('x-stepgate-why')).toBe('resident');
});
