// A process that is asked to stop in the middle of a load. Found by the chaos run.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startSim } from '../../src/sim/sim.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { begin, run } from './run.ts';

test('SIGTERM while one engine loads the newest step, which another could make room for: the process ends', async () => {
  const home = await mkdtemp(join(tmpdir(), 'stepgate-stop-'));
  onTestFinished(() => rm(home, { recursive: true, force: true }));
  const sims = await Promise.all([startSim({ maxLoras: 1, loadMs: 1 }), startSim({ maxLoras: 1, loadMs: 1 })]);
  onTestFinished(async () => void (await Promise.all(sims.map((sim) => sim.close()))));
  const file = join(home, 'gate.yaml');
  const backends = sims.map(({ url }, index) => `{ name: gpu-${index}, url: "${url}", slots: 1 }`).join(', ');
  await writeFile(file, `listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ndata: data\nbackends: [${backends}]\n`);
  const gateway = begin(['serve', '--config', file]);
  onTestFinished(() => void gateway.process.kill('SIGKILL'));
  const [, admin = ''] = await gateway.says(/admin +(\S+)/);
  const register = async (step: number) => {
    const path = await writeCheckpoint({ dir: home, step });
    expect(await run(['register', `my-model@${step}`, path, '--admin', admin])).toMatchObject({ code: 0 });
  };
  // One engine holds step 1, the other step 2: whichever loads step 3 has to let go first.
  await register(1);
  await gateway.says(/"adapter":"my-model@1".*"msg":"loaded"/);
  await register(2);
  await gateway.says(/"adapter":"my-model@2".*"msg":"loaded"/);
  for (const sim of sims) sim.fault('load', { kind: 'hang' }, Number.POSITIVE_INFINITY);
  await register(3);
  await gateway.says(/"adapter":"my-model@3".*"msg":"load"/);

  gateway.process.kill('SIGTERM');
  expect(await gateway.ended).toMatchObject({ code: 0 });
});
