// A service on the command line: a checkpoint without files is registered, and `ps` and `ls` say what is there. Nobody answers at its address.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { begin, run } from './run.ts';

test('register --hosted, ps and ls', async () => {
  const home = await mkdtemp(join(tmpdir(), 'stepgate-cli-'));
  onTestFinished(() => rm(home, { recursive: true, force: true }));
  const file = join(home, 'gate.yaml');
  await writeFile(
    file,
    `listen: 127.0.0.1:0
admin: 127.0.0.1:0
data: data
backends:
  - { name: tinker, kind: openai-compatible, url: "http://127.0.0.1:9", bases: [base], models: { my-model: "run/{step:06}" }, health: none }
`,
  );
  const gateway = begin(['serve', '--config', file]);
  onTestFinished(async () => {
    gateway.process.kill('SIGKILL');
    await gateway.ended;
  });
  const [, admin = ''] = await gateway.says(/admin +(\S+)/);
  const at = (...args: string[]) => run([...args, '--admin', admin]);
  expect(await at('register', 'my-model@80', '--hosted')).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^registered my-model@80 \(hosted\)/),
  });
  expect((await at('ps')).out).toMatch(/^tinker +up +\d\/- +0 +openai-compatible +config +http:/m);
  expect((await at('ls', 'my-model')).out).toMatch(/^my-model@80 .* yes /m);
});
