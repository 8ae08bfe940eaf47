import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from './run.ts';

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'stepgate-cli-'));
});
afterEach(() => rm(home, { recursive: true, force: true }));

async function configFile(text: string): Promise<string> {
  const file = join(home, 'gate.yaml');
  await writeFile(file, text);
  return file;
}

/** Something that is no gateway, on a port of its own. */
async function squat(): Promise<{ port: number; server: Server }> {
  const server = createServer((socket) =>
    socket.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello'),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return { port: typeof address === 'object' && address !== null ? address.port : 0, server };
}

describe('help', () => {
  test('names every command, where to start and the exit codes', async () => {
    const { code, out } = await run(['--help']);
    expect(code).toBe(0);
    for (const word of [
      'serve',
      'demo',
      'sim',
      'ls',
      'ps',
      'register',
      'rm',
      'schema',
      'Start here',
      'Exit codes',
      'STEPGATE_KEY',
    ])
      expect(out).toContain(word);
  });

  test('fits 80 columns, as that of every command does, which has an example; defaults are said one way', async () => {
    const { out } = await run(['--help']);
    const list = out.slice(out.indexOf('Commands:'), out.indexOf('Start here:'));
    const commands = [...list.matchAll(/^ {2}([a-z]+)/gm)].flatMap(([, name = '']) => (name === 'help' ? [] : [name]));
    expect(commands.length).toBeGreaterThan(20);
    for (const command of ['', ...commands]) {
      const { code, out } = await run([command, '--help'].filter((word) => word !== ''));
      expect(code, command).toBe(0);
      expect(out.split('\n').filter((line) => line.length > 80)).toEqual([]);
      expect(out, command).toMatch(/(Examples?|Start here):\n {2}stepgate/);
      expect(out, command).not.toMatch(/default:\s+"/);
    }
  }, 60_000);

  test('the version is that of the package', async () => {
    expect((await run(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('wrong usage ends with 2 and a way to the help', () => {
  test.each([
    [[]],
    [['no-such-command']],
    [['ls', '--no-such-option']],
    [['register', 'only-a-name']],
    [['demo', '--port', 'many']],
    [['demo', '--port', '70000']],
    [['serve', '--log-level', 'loud']],
    [['audit', '--limit', 'many']],
    [['audit', '--limit', '1001']],
    [['alias', 'my-model', '--history', '0']],
    [['deploy', 'support', '--rollback', 'first']],
    [['reserve', '--class', 'urgent']],
    [['reserve', '--model', 'my-model', '--slots', 'all']],
    [['sweep', 'my-model@*', '--requests', 'prompts.jsonl', '--concurrency', '0']],
    [['ls', '--sort', 'eval_loss']],
    [['pin', '--for', '2h']],
  ])('%j', async (args) => {
    const { code, out, err } = await run(args);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).toContain('--help');
    expect(err).not.toContain('    at ');
  });
});

test.each([
  [['ps', '--admin', 'not a url'], 'write for example http://127.0.0.1:8081'],
  [['pin', 'my-model@5', '--for', '3y'], 'write for example 90s, 30m, 2h or 7d'],
  [['pin', 'my-model'], 'write my-model@5, my-model@5..40'],
  [['alias', 'my-model', 'champion', 'five'], 'write a number, such as 5'],
])('%j ends with 2 and says what to write', async (args, words) => {
  expect(await run(args)).toEqual({ code: 2, out: '', err: expect.stringContaining(words) });
});

describe('without a gateway', () => {
  test.each([
    [['ls']],
    [['ls', 'my-model', '--json']],
    [['ps']],
    [['register', 'my-model@5', '.']],
    [['rm', 'my-model@5']],
  ])('%j ends with 1 and one line that says what to start', async (args) => {
    const { port, server } = await squat();
    await new Promise((resolve) => server.close(resolve));
    const { code, out, err } = await run([...args, '--admin', `127.0.0.1:${port}`]);
    expect([code, out]).toEqual([1, '']);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
    expect(err).toContain(`no gateway answers at http://127.0.0.1:${port} (connection refused)`);
    expect(err).toContain('stepgate serve');
  });

  test('something else at that address is not taken for one', async () => {
    const { port, server } = await squat();
    const { code, err } = await run(['ps', '--admin', `http://127.0.0.1:${port}`]);
    server.close();
    expect(code).toBe(1);
    expect(err).toContain("not as stepgate's admin listener");
  });

  test('a key that no header can carry is not shown; a port alone is one of this machine', async () => {
    const { code, err } = await run(['ps'], { STEPGATE_KEY: 'sg_0.secret\nand more' });
    expect([code, err]).toEqual([2, expect.stringMatching(/^STEPGATE_KEY holds more than one word/)]);
    expect(err).not.toContain('secret');
    const { port, server } = await squat();
    expect((await run(['ps', '--admin', `https://127.0.0.1:${port}`])).err).toContain('speaks no TLS: write http://');
    expect((await run(['ps', '--admin', `${port}`])).err).toContain("not as stepgate's admin listener");
    server.close();
  });

  test('the admin listener is taken from a config file', async () => {
    const { port, server } = await squat();
    await new Promise((resolve) => server.close(resolve));
    const { err } = await run(['ps', '--config', await configFile(`admin: ${port}`)]);
    expect(err).toContain(`no gateway answers at http://127.0.0.1:${port}`);
  });
});

describe('serve', () => {
  test('a config file that is not there', async () => {
    const { code, err } = await run(['serve', '--config', join(home, 'none.yaml')]);
    expect(code).toBe(1);
    expect(err).toMatch(/cannot read the config ".*none\.yaml": there is no such file\n$/);
  });

  test('a config that cannot be used: each problem with file, line and fix, no stack', async () => {
    const file = await configFile('listn: 8080\ndeadlines:\n  loadMs: 5s\n');
    for (const args of [['serve'], ['serve', '--check']]) {
      const { code, out, err } = await run([...args, '--config', file]);
      expect([code, out]).toEqual([1, '']);
      const lines = err.trimEnd().split('\n');
      expect(lines).toHaveLength(2);
      expect(lines[0]).toBe(`${file}:1:1: listn: unknown key; did you mean "listen"?`);
      expect(lines[1]).toContain(`${file}:3:3: deadlines.loadMs:`);
    }
  });

  test('what is no config at all is not shown whole', async () => {
    const file = await configFile('x'.repeat(10_000));
    const { code, err } = await run(['serve', '--config', file]);
    expect(code).toBe(1);
    expect(err).toContain(`got the text "${'x'.repeat(60)}..."; its keys are listen, admin`);
    expect((await run(['serve', '--config', home])).err).toContain('it is a directory');
  });

  test('a data directory that cannot be made is told as that', async () => {
    const file = await configFile('listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ndata: ./gate.yaml/data\nbackends: []\n');
    const { code, err } = await run(['serve', '--config', file]);
    expect(code).toBe(1);
    expect(err).toMatch(
      /^`data`: \S+ cannot be made or used \(ENOTDIR\): name a directory that this user may write to\n$/,
    );
  });

  test('--check tells of keys that the gateway would not start without', async () => {
    const backend = '{ name: gpu-0, url: "http://127.0.0.1:9", keyEnv: NO_SUCH_KEY }';
    const file = await configFile(`backends: [${backend}]\n`);
    const { code, err } = await run(['serve', '--check', '--config', file]);
    expect(code).toBe(0);
    expect(err).toContain(
      'note: it would not start here: backends (gpu-0): keyEnv: the environment variable NO_SUCH_KEY',
    );
  });

  test('--check says what a good config means, and starts nothing', async () => {
    const file = await configFile('listen: 127.0.0.1:9123\nmodels: { m: { watch: ./not-yet } }\n');
    const { code, out, err } = await run(['serve', '--check', '--config', file]);
    expect(code).toBe(0);
    expect(out).toContain('clients at 127.0.0.1:9123');
    expect(err).toContain('not-yet does not exist yet');
  });

  test.each(['listen', 'admin'] as const)(
    'a taken port of "%s" is one line with the key and a free port',
    async (key) => {
      const { port, server } = await squat();
      const other = key === 'listen' ? 'admin' : 'listen';
      const file = await configFile(`data: ./data\n${key}: 127.0.0.1:${port}\n${other}: 127.0.0.1:0\nbackends: []\n`);
      const { code, err } = await run(['serve', '--config', file]);
      server.close();
      expect(code).toBe(1);
      expect(err.trimEnd().split('\n')).toHaveLength(1);
      expect(err).toContain(`port ${port} is taken`);
      expect(err).toMatch(new RegExp(`set "${key}: 127\\.0\\.0\\.1:\\d+" in `));
    },
  );
});

test('schema prints JSON schema that an editor can read', async () => {
  const { code, out } = await run(['schema']);
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({
    $schema: 'http://json-schema.org/draft-07/schema#',
    additionalProperties: false,
  });
});
