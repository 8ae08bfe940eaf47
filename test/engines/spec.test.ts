// What an engine is started with: ours, unless the caller's flags say otherwise, and nothing that a shell would read.
import { describe, expect, test } from 'vitest';
import { commandOf, wordsOf } from '../../src/engines/spec.ts';

const command = (flags: readonly string[], more: { rank?: number | undefined } = { rank: 8 }) =>
  commandOf({ command: ['vllm', 'serve'], root: '/models/b', base: 'Org/B', port: 8100, rank: more.rank, flags });

test('vLLM is given the base, room for adapters of that rank, and a port of this machine', () => {
  expect(command([])).toEqual({
    argv: [
      ...['vllm', 'serve', '/models/b', '--enable-lora', '--max-loras', '4', '--max-lora-rank', '16'],
      ...['--served-model-name', 'Org/B', '--port', '8100', '--host', '127.0.0.1'],
    ],
    url: 'http://127.0.0.1:8100',
    base: 'Org/B',
    slots: 4,
    rankMax: 16,
  });
});

test.each([
  [1, 16],
  [16, 16],
  [17, 32],
  [64, 64],
  [300, 320],
])('rank %i is served with --max-lora-rank %i, one that vLLM takes', (rank, rankMax) => {
  expect(command([], { rank })).toMatchObject({ rankMax });
});

test('a full model is served without adapters', () => {
  const { argv, slots, rankMax } = command([], { rank: undefined });
  expect([argv.includes('--enable-lora'), slots, rankMax]).toEqual([false, 1, 0]);
  const { rankMax: asked } = command(['--enable-lora'], { rank: undefined });
  expect(asked).toBeUndefined();
});

describe('flags of the caller', () => {
  test.each([
    [['--max-loras', '8'], { slots: 8 }],
    [['--max-loras=8'], { slots: 8 }],
    [['--max_loras', '8'], { slots: 8 }],
    [['--max-loras', '8', '--max-loras', '2'], { slots: 2 }],
    [['--max-lora-rank', '64'], { rankMax: 64 }],
    [['--port', '9000'], { url: 'http://127.0.0.1:9000' }],
    [['--host', '0.0.0.0'], { url: 'http://127.0.0.1:8100' }],
    [['--host', '::1'], { url: 'http://[::1]:8100' }],
    [['--served-model-name', 'other'], { base: 'other' }],
    [['--no-enable-lora'], { rankMax: 0 }],
    [['--no-enable-lora', '--enable_lora'], { rankMax: 16, slots: 4 }],
  ])('%j go as they are, at the end, and ours of that name do not', (flags, known) => {
    const { argv, ...rest } = command(flags);
    expect(argv.slice(-flags.length)).toEqual(flags);
    const names = argv.flatMap((word) => (word.startsWith('--') ? word.slice(2).split('=') : []));
    const ours = command([]).argv.filter((word) => word.startsWith('--'));
    const said = flags[0]?.replace('--', '').replace('no-', '').replaceAll('_', '-').split('=')[0];
    expect(argv.slice(0, -flags.length)).toEqual(expect.arrayContaining(ours.filter((word) => word !== `--${said}`)));
    expect(argv.slice(0, -flags.length)).not.toContain(`--${said}`);
    expect(names.length).toBeGreaterThan(0);
    expect(rest).toMatchObject(known);
  });

  test('whatever a shell would make of them, they are words', () => {
    const flags = ['--chat-template', '$(touch x); `id` && "a b"', '--x', ''];
    expect(command(flags).argv.slice(-4)).toEqual(flags);
  });

  test.each(['--api-key', '--api_key=x', '--uds', '--ssl-keyfile', '--root-path'])('%s is refused', (flag) => {
    expect(() => command([flag, 'x'])).toThrow(/is not taken.*"backends" in the config/);
  });

  test('a port that is none is refused', () => {
    expect(() => command(['--port', 'many'])).toThrow('--port many is no port');
    expect(() => command(['--port'])).toThrow('--port  is no port');
  });

  test.each([[['--host']], [['--host', 'a b']]])('an address that is none is refused: %j', (flags) => {
    expect(() => command(flags)).toThrow(/^--host ".*" is no address/);
  });
});

describe('a command in one text', () => {
  test.each([
    ['vllm serve', ['vllm', 'serve']],
    ['  /opt/v/vllm   serve ', ['/opt/v/vllm', 'serve']],
    [`env A="b c" 'd e'f "g\\"h"`, ['env', 'A=b c', 'd ef', 'g"h']],
    ['a\\ b $HOME; rm', ['a b', '$HOME;', 'rm']],
    ['""', ['']],
    ['', []],
  ])('%j is %j', (text, words) => expect(wordsOf(text)).toEqual(words));

  test('a quote that does not end is refused', () => {
    expect(() => wordsOf('vllm "serve')).toThrow('a quote in it does not end');
  });
});
