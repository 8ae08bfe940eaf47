// `stepgate up`, `down`, `logs` and `ps`, as a person uses them: a gateway in a process of its own that starts engines, and is killed.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { freePort, lives, VLLM_LIKE } from '../engines/house.ts';
import { begin, type Run, run } from './run.ts';

let home: string;
let file: string;
let gateway: Run;
let url: string;
let admin: string;

async function startGateway(): Promise<void> {
  const keys = { STEPGATE_KEY: 'k', S3_KEY: 'id:k', HF_TOKEN: 'k', VLLM_API_KEY: 'k' };
  gateway = begin(['serve', '--config', file], { ...keys, OTHER: 'o', HOME: home });
  [, url = ''] = await gateway.says(/serves at (\S+)\/v1/);
  [, admin = ''] = await gateway.says(/admin +(\S+)/);
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'stepgate-cli-'));
  file = join(home, 'gate.yaml');
  const command = JSON.stringify(VLLM_LIKE);
  await writeFile(
    file,
    `listen: 127.0.0.1:0
admin: 127.0.0.1:0
data: data
engines: { command: ${command} }
probe: { everyMs: 100 }
backends: []
sources: { s3: { keyEnv: S3_KEY }, hf: { keyEnv: HF_TOKEN } }
`,
  );
  await startGateway();
  await writeCheckpoint({ dir: home, step: 5 });
  await run(['register', 'my-model@5', join(home, 'checkpoint-5'), '--admin', admin]);
});

afterAll(async () => {
  await at('down', 'mine', '--force');
  gateway.process.kill('SIGKILL');
  await gateway.ended;
  await rm(home, { recursive: true, force: true });
});

const at = (...args: string[]) => {
  const [command = '', ...rest] = args;
  return run([command, '--admin', admin, ...rest]);
};
const pidOf = async () =>
  (JSON.parse((await at('ps', '--json')).out) as { engines: { pid: number }[] }).engines[0]?.pid ?? 0;

test('up says where it is and how to ask; what it prints works', async () => {
  const port = String(await freePort());
  const { code, out, err } = await at('up', 'mine', '--checkpoint', 'my-model@5', '--port', port, '--', '--sim-chatty');
  expect([code, err]).toEqual([0, '']);
  expect(out).toMatch(/^starting mine: log .*\/engines\/mine\/log; .*stepgate down mine/);
  expect(out).toMatch(new RegExp(`^mine is up after \\d+ s, at http://127.0.0.1:${port} `, 'm'));
  const [, asked = '', body = ''] = /curl (\S+) .*\\\n +-d '(.*)'/.exec(out) ?? [];
  expect(asked).toBe(`${url}/v1/completions`);
  const answer = await fetch(asked, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  expect(await answer.json()).toMatchObject({ model: 'my-model@5' });
  expect(await at('up', 'more', '--checkpoint', 'my-model@5')).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^mine serves my-model@5: none is started \(--own/),
  });
});

test('ps shows it twice: as a backend with where it comes from, and as an engine with its process', async () => {
  const { out } = await at('ps');
  expect(out).toMatch(/^mine +up +\d\/4 +0 +vllm +engine +http:/m);
  expect(out).toMatch(/^mine +up \d+ s +\d+ +0 +my-model@5 +http:/m);
});

test('logs show what it says; it has none of the keys of the gateway, but the token with which vLLM fetches bases', async () => {
  const { code, out } = await at('logs', 'mine', '-n', '1000');
  expect(code).toBe(0);
  expect(out).toContain('Application startup complete');
  expect(out).toMatch(/^runtime loading: 1$/m);
  expect(/^variables: (.*)$/m.exec(out)?.[1]?.split(' ')).toEqual(
    expect.arrayContaining(['HF_TOKEN', 'HOME', 'OTHER', 'PATH', 'VLLM_ALLOW_RUNTIME_LORA_UPDATING']),
  );
  expect(out).not.toMatch(/STEPGATE_|S3_KEY|VLLM_API_KEY/);
  expect((await at('logs', 'mine', '-n', '1')).out.split('\n')).toHaveLength(2);
  expect(await at('logs', 'none')).toMatchObject({ code: 1, err: expect.stringContaining('there are mine') });
});

test('it goes on when the gateway is killed, and is found again, not doubled; who follows its logs is told', async () => {
  const pid = await pidOf();
  const following = begin(['logs', 'mine', '-f', '--admin', admin]);
  await following.says(/tick/);
  gateway.process.kill('SIGKILL');
  await gateway.ended;
  const { code, err } = await following.ended;
  expect([code, err]).toEqual([1, 'the gateway ended; its engines go on: ask again when it is back\n']);
  expect(lives(pid)).toBe(true);
  await startGateway();
  await gateway.says(/engine up/);
  expect(await pidOf()).toBe(pid);
});

test('it goes on after SIGTERM of the gateway too; killed meanwhile, it is started again', async () => {
  const pid = await pidOf();
  gateway.process.kill('SIGTERM');
  expect((await gateway.ended).code).toBe(0);
  process.kill(pid, 'SIGKILL');
  await startGateway();
  await gateway.says(/engine up/);
  expect(await pidOf()).not.toBe(pid);
});

test('down ends nothing when the engine is taken back meanwhile', async () => {
  const body = JSON.stringify({ model: 'my-model@5', prompt: 'hi', max_tokens: 8_000, ignore_eos: true, stream: true });
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${url}/v1/completions`, { method: 'POST', headers, body });
  const down = begin(['down', 'mine', '--admin', admin]);
  await down.says(/1 request runs there still: my-model@5 1/);
  await at('drain', 'mine', '--off');
  expect(await down.ended).toMatchObject({
    code: 1,
    err: expect.stringContaining('mine was taken back while it was drained: it goes on'),
  });
  await answer.body?.cancel();
  expect((await at('ps')).out).toMatch(/^mine +up +\d\/4/m);
});

test('logs -f ends with down', async () => {
  const pid = await pidOf();
  const following = begin(['logs', 'mine', '-f', '--admin', admin]);
  await following.says(/tick/);
  expect(await at('down', 'mine')).toMatchObject({ code: 0, out: expect.stringContaining('ended mine; ') });
  expect((await following.ended).code).toBe(0);
  expect([lives(pid), (await at('ps')).out]).toEqual([false, expect.stringMatching(/^no backends: /)]);
  expect(await at('down', 'mine')).toMatchObject({ code: 1, err: expect.stringContaining('there is none') });
});

test('one that does not get ready: its last lines, its log, exit code 1', async () => {
  const { code, out, err } = await at('up', 'bad', '--checkpoint', 'my-model@5', '--', '--sim-exit', '3');
  expect([code, out.split('\n').length]).toEqual([1, 2]);
  expect(err).toMatch(/^\| RuntimeError: CUDA out of memory$/m);
  expect(err).toMatch(
    /^bad did not get ready: it ended with code 3\. Nothing of it is left but its log: \S+\/bad\/log$/m,
  );
  expect((await at('logs', 'bad')).out).toContain('CUDA out of memory');
  expect(await at('logs', 'bad', '-f', '-n', '1')).toMatchObject({
    code: 0,
    out: 'RuntimeError: CUDA out of memory\n',
  });
});

test('one that somebody ends while it starts: up says so', async () => {
  const up = begin(['up', 'slow', '--own', '--checkpoint', 'my-model@5', '--admin', admin, '--', '--sim-silent']);
  await up.says(/starting slow/);
  expect((await at('down', 'slow')).code).toBe(0);
  const { code, err } = await up.ended;
  expect([code, err]).toEqual([1, expect.stringMatching(/^slow did not get ready: somebody ended it\. Nothing/m)]);
});

const hasScript = spawnSync('script', ['--version']).status === 0;
test.runIf(hasScript)(
  'what an engine says while it starts moves no cursor and sets no title of the terminal',
  async () => {
    const program = join(home, 'titled');
    await writeFile(program, '#!/bin/sh\nprintf "\\033]0;owned\\007Loading weights\\n"; sleep 2; exit 3\n', {
      mode: 0o755,
    });
    const bin = fileURLToPath(new URL('../../bin/stepgate.js', import.meta.url));
    const words = `up titled --own --checkpoint my-model@5 --engine-command ${program} --admin ${admin}`;
    const command = `${process.execPath} ${bin} ${words}`;
    const terminal = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['ignore', 'pipe', 'ignore'] });
    const stdout = await text(terminal.stdout);
    expect(stdout).toMatch(/titled: \d+ s: \ufffd\]0;owned\ufffdLoading weights/);
    expect(stdout).not.toContain('\x1b]0;');
  },
);

test.each([
  [['up', 'x'], "required option '--checkpoint <which>'"],
  [['up', 'x', '--checkpoint', 'my-model@5', '--max-loras', '8'], '(flags for the engine go after "--")'],
  [['up', 'x', '--checkpoint', 'my-model@5', 'y'], 'one engine has one name'],
  [['up', 'x', '--checkpoint', 'my-model@5', '--wait', 'long'], 'a whole number from 1 to 86400'],
  [['logs', 'x', '-n', 'all'], 'a whole number from 0 to 10000'],
])('%j is asked wrongly', async (args, words) => {
  const { code, out, err } = await at(...args);
  expect([code, out]).toEqual([2, '']);
  expect(err).toContain(words);
});
