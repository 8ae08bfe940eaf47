import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { freePort } from '../../src/cli/serve.ts';
import { begin, run } from './run.ts';

const STEPS = [10, 20, 30, 40, 50, 60];

test('the demo asks for more steps than fit, gets each from its own checkpoint, and ends with 0', async () => {
  const { code, out, err } = await run(['demo', '--once', '--port', '0']);
  expect(err).toBe('');
  expect(code).toBe(0);
  for (const step of STEPS) {
    expect(out).toContain(`trainer  wrote checkpoint-${step}\n`);
    expect(out).toContain(`client   asks my-model@${step}\n`);
    expect(out).toMatch(new RegExp(`gpu-[01] +answers \\[my-model@${step} sha:[0-9a-f]{8}\\]`));
  }
  expect(out).toMatch(/gpu-[01] +loads my-model@10: /);
  expect(out).toMatch(/gpu-[01] +drops my-model@\d+: least asked for, its slot is needed/);
  expect(out).toContain('"my-model" now means my-model@60');
  expect(out).toMatch(/15 of 15 answers came from the step that was asked for; \d+ loads, \d+ evictions/);
  expect(out.split('\n').filter((line) => line.length > 80)).toEqual([]);
}, 60_000);

test('without --once it goes on serving, says how to ask, and Ctrl-C ends it', async () => {
  const demo = begin(['demo', '--port', '0']);
  await demo.says(/Ctrl-C ends it/);
  const [, url] = await demo.says(/curl -s (http:\S+)\/v1\/chat\/completions -H/);
  const models = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] };
  expect(models.data.map(({ id }) => id)).toEqual(expect.arrayContaining(['my-model@10', 'my-model@60']));
  // Twice, as it comes through npm: the terminal tells the whole process group, and npm passes it on.
  demo.process.kill('SIGINT');
  demo.process.kill('SIGINT');
  expect((await demo.ended).code).toBe(0);
}, 60_000);

test('a port that was asked for and is taken is an error that names a free one', async () => {
  const squatter = createServer();
  const port = await freePort('127.0.0.1');
  await new Promise<void>((resolve) => squatter.listen(port, '127.0.0.1', resolve));
  const { code, err } = await run(['demo', '--once', '--port', `${port}`]);
  squatter.close();
  expect(code).toBe(1);
  expect(err).toMatch(new RegExp(`^port ${port} is taken: name another, such as --port \\d+`));
});
