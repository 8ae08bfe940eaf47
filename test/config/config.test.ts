import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { configMarkdown, configSchemaText } from '../../src/cli/schema.ts';
import { ConfigError, defaultConfig, isLoopback, keyVariables, parseConfig } from '../../src/config.ts';
import type { ModelName } from '../../src/domain.ts';

const parse = (text: string) => parseConfig(text, { file: '/etc/stepgate/gate.yaml' });
const root = new URL('../../', import.meta.url);

/** The message of the refusal. */
function refusal(text: string): string {
  try {
    parseConfig(text, { file: 'gate.yaml' });
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error(`accepted: ${text}`);
}

describe('what a config means', () => {
  test('an empty file, or one of comments, is all defaults', () => {
    const config = defaultConfig();
    expect(parseConfig('# nothing yet\n', { file: undefined })).toEqual(config);
    expect(config.listen).toEqual({ host: '127.0.0.1', port: 8080 });
    expect(config.admin).toEqual({ host: '127.0.0.1', port: 8081 });
    expect(config.limits).toEqual({
      bodyBytesMax: 33_554_432,
      bufferedBytesMax: 1_073_741_824,
      headerBytesMax: 65_536,
      headMsMax: 5_000,
      bodyMsMax: 60_000,
      connectionsMax: 16_384,
      queueMax: 10_000,
      queuePerCheckpointMax: 10_000,
      waitMsMax: 240_000,
    });
    expect(config.deadlines).toEqual({
      connectMs: 2000,
      loadMs: 60_000,
      firstTokenMs: 120_000,
      betweenChunksMs: 60_000,
      wholeMs: 600_000,
    });
  });

  test.each([
    ['127.0.0.1:8080', { host: '127.0.0.1', port: 8080 }],
    ['"[::1]:8080"', { host: '::1', port: 8080 }],
    [':8080', { host: '0.0.0.0', port: 8080 }],
    ['8080', { host: '127.0.0.1', port: 8080 }],
    ['gate.example:0', { host: 'gate.example', port: 0 }],
  ])('listen: %s', (written, address) => {
    expect(parse(`listen: ${written}`).listen).toEqual(address);
  });

  test('relative paths start at the file that holds them', () => {
    const config = parse('data: ./here\nroots: [runs, /abs]\nmodels: { m: { watch: ../runs/m } }');
    expect(config.data).toBe('/etc/stepgate/here');
    expect(config.roots).toEqual(['/etc/stepgate/runs', '/abs']);
    expect(config.models.get('m' as ModelName)?.watch).toBe('/etc/runs/m');
    expect(parseConfig('', { file: undefined }).data).toBe(resolve('stepgate-data'));
  });

  test('a model has its defaults, and a backend loses the slash at the end of its URL', () => {
    const config = parse('models: { m: {} }\nbackends: [{ name: a, url: "http://h:1/" }]');
    expect(config.models.get('m' as ModelName)).toEqual({
      layout: 'auto',
      latest: 'ready',
      best: { metric: 'eval_loss', direction: 'min' },
    });
    expect(config.backends).toEqual([{ name: 'a', url: 'http://h:1', kind: 'vllm' }]);
  });

  test('what is best, what is kept, and the store', () => {
    const config = parse(
      'models: { m: { layout: verl, best: { metric: reward, direction: max }, keep: { last: 5, every: 100 } } }\n' +
        'store: { bytesMax: 5000000000 }\n' +
        'backends: [{ name: a, url: "http://h:1", rankMax: 64, storePath: /mnt/store }]',
    );
    expect(config.models.get('m' as ModelName)).toMatchObject({
      layout: 'verl',
      best: { metric: 'reward', direction: 'max' },
      keep: { last: 5, every: 100 },
    });
    expect(config.store).toEqual({ bytesMax: 5_000_000_000 });
    expect(config.backends[0]).toMatchObject({ rankMax: 64, storePath: '/mnt/store' });
    expect(defaultConfig().store).toEqual({});
    expect(
      parse('models: { m: { best: { metric: reward, direction: max } } }').models.get('m' as ModelName),
    ).not.toHaveProperty('keep');
  });

  test('nobody can change it afterwards', () => {
    const config = parse('backends: [{ name: a, url: "http://h:1" }]\nmodels: { m: { keep: { last: 1 } } }');
    const parts = [
      config,
      ...Object.values(config).filter((part) => typeof part === 'object' && !(part instanceof Map)),
    ];
    const models = [...config.models.values()];
    for (const part of [...parts, ...config.backends, ...models, ...models.flatMap(({ best, keep }) => [best, keep])])
      expect(Object.isFrozen(part)).toBe(true);
  });

  test('loopback is what only this machine can reach', () => {
    expect(['127.0.0.1', '127.9.9.9', '::1', 'localhost'].filter(isLoopback)).toHaveLength(4);
    expect(['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example.org', '1270.0.0.1'].filter(isLoopback)).toEqual([]);
  });
});

describe('a config that cannot be used is refused with file, line, key and fix', () => {
  test.each<[what: string, text: string, message: string[]]>([
    ['a mistyped key', 'data: x\nlistn: 8080', ['gate.yaml:2:1: listn: unknown key', 'did you mean "listen"']],
    [
      'a key in another spelling',
      'limits:\n  queue_max: 5',
      ['gate.yaml:2:3: limits.queue_max:', 'did you mean "queueMax"'],
    ],
    ['a key of another section', 'limits:\n  loadMs: 5', ['gate.yaml:2:3:', 'it belongs under "deadlines:"']],
    [
      'an unheard-of key',
      'probe:\n  zzz: 5',
      ['gate.yaml:2:3: probe.zzz: unknown key', 'use one of everyMs, timeoutMs'],
    ],
    [
      'a duration with a unit',
      'deadlines:\n  loadMs: 5s',
      ['gate.yaml:2:3: deadlines.loadMs: expected a whole number', 'got the text "5s"', '"loadMs: 60000"'],
    ],
    [
      'a number below its bound',
      'probe: { everyMs: 0 }',
      ['gate.yaml:1:10: probe.everyMs: expected a whole number from 1', 'got 0'],
    ],
    ['text for a list', 'roots: /runs', ['gate.yaml:1:1: roots: expected a list', 'got the text "/runs"']],
    ['a list for a mapping', 'models:\n  - my-model', ['gate.yaml:1:1: models: expected a mapping', 'got a list']],
    ['a value that is no mapping at all', 'hello', ['gate.yaml:1:1: expected a mapping', 'listen, admin, data']],
    [
      'a key with nothing after it',
      'data:\nlistn: 1',
      ['gate.yaml:1:1: data: nothing is written after it', '"data: stepgate-data"'],
    ],
    [
      'a model with nothing under it',
      'models:\n  m:',
      ['gate.yaml:2:3: models.m: nothing is written under it', '"{}"'],
    ],
    [
      'a choice that is none',
      'models:\n  m:\n    latest: redy',
      ['gate.yaml:3:5: models.m.latest:', 'one of ready, published, error'],
    ],
    [
      'a layout that is none',
      'models:\n  m:\n    layout: hugging-face',
      ['gate.yaml:3:5: models.m.layout:', 'one of auto, hf, art, prime-rl'],
    ],
    [
      'a rule of keeping without a rule',
      'models:\n  m:\n    keep: {}',
      ['gate.yaml:3:5: models.m.keep:', '"keep: { last: 5'],
    ],
    [
      'a rule that keeps nothing',
      'models:\n  m:\n    keep: { last: 0 }',
      ['models.m.keep.last:', 'whole number from 1'],
    ],
    [
      'a direction that is none',
      'models:\n  m:\n    best: { direction: up }',
      ['models.m.best.direction:', 'one of min, max'],
    ],
    [
      'a size with a unit',
      'store:\n  bytesMax: 100GB',
      ['gate.yaml:2:3: store.bytesMax:', 'whole number', '"bytesMax: 100000000000"'],
    ],
    [
      'a relative path on an engine',
      'backends: [{ name: a, url: "http://h:1", storePath: adapters }]',
      ['backends[0].storePath:', 'begins with "/"'],
    ],
    ['a model name that is a step', 'models:\n  m@5: {}', ['gate.yaml:2:3: models.m@5:', 'Leave the suffix out']],
    ['a model name with a comma', 'models:\n  "a,b": {}', ['gate.yaml:2:3: models.a,b:', 'comma']],
    [
      'a missing field',
      'backends:\n  - url: http://h:1',
      ['gate.yaml:2:5: backends[0].name: missing', '"name: gpu-0"'],
    ],
    [
      'a backend without a scheme',
      'backends:\n  - name: a\n    url: gpu:8100',
      ['gate.yaml:3:5: backends[0].url: "gpu:8100" is no http URL', 'http://127.0.0.1:8100'],
    ],
    ['a backend of another scheme', 'backends: [{ name: a, url: "ftp://h" }]', ['is no http URL']],
    ['a backend with /v1', 'backends:\n  - name: a\n    url: http://h:1/v1/', ['gate.yaml:3:5:', 'write "http://h:1"']],
    ['a backend with a password', 'backends: [{ name: a, url: "http://u:p@h:1" }]', ['no user or password']],
    [
      'two backends of one name',
      'backends:\n  - { name: a, url: "http://h:1" }\n  - { name: a, url: "http://h:2" }',
      ['gate.yaml:3:7: backends[1].name: "a" is already backends[0].name'],
    ],
    [
      'one engine twice',
      'backends:\n  - { name: a, url: "http://h:1" }\n  - { name: b, url: "http://h:1/" }',
      ['gate.yaml:3:16: backends[1].url:', 'already backends[0].url'],
    ],
    [
      'a port out of range',
      'listen: 127.0.0.1:99999',
      ['gate.yaml:1:1: listen: expected host:port', '65535', '"127.0.0.1:8080"'],
    ],
    ['an address in brackets without quotes', 'listen: [::1]:8080', ['gate.yaml:1:', 'in quotes']],
    [
      'two keys for one engine',
      'backends: [{ name: a, url: "http://a", keyFile: k, keyEnv: K }]',
      ['gate.yaml:1:', 'keyFile or keyEnv, not both'],
    ],
    [
      'a key instead of the name of a variable',
      'backends: [{ name: a, url: "http://a", keyEnv: "sk-1" }]',
      ['keyEnv', "variable's name"],
    ],
    ['a host with its port', 'access: { hosts: ["a.example:80"] }', ['access.hosts[0]', 'without a port']],
    [
      'one port for both listeners',
      'listen: 9000\nadmin: 9000',
      ['gate.yaml:2:1: admin: port 9000 is taken by "listen"', '127.0.0.1:9001'],
    ],
    ['a path from the home directory', 'data: ~/data', ['gate.yaml:1:1: data:', 'write the whole path']],
    ['a tab', 'limits:\n\tqueueMax: 5', ['gate.yaml:2:1: a tab', 'two spaces']],
    ['a key written twice', 'data: a\ndata: b', ['gate.yaml:2:1: the key "data" is written twice']],
    ['an open bracket', 'roots: [a', ['gate.yaml:1:', 'not YAML']],
    ['an alias without its anchor', 'data: a\nroots: *all', ['gate.yaml:2:8:', 'in quotes']],
    ['two documents', 'data: a\n---\ndata: b', ['a second document']],
  ])('%s', (_, text, parts) => {
    const message = refusal(text);
    for (const part of parts) expect(message).toContain(part);
  });

  test('several problems are told at once, in the order of their lines', () => {
    const lines = refusal('probe: { everyMs: x }\nlistn: 1\nbackends:\n  - name: a\n').split('\n');
    expect(lines.map((line) => line.split(':').slice(1, 3).join(':'))).toEqual(['1:10', '2:1', '4:5']);
  });

  test('without a file the message still has its line', () => {
    expect(() => parseConfig('x: 1', { file: undefined })).toThrow('config:1:1: x: unknown key');
  });
});

describe('what is in config/ and docs/ is true', () => {
  const examples = readdirSync(new URL('config/', root)).filter((file) => file.endsWith('.yaml'));

  test.each(examples)('config/%s can be used, and editors find its schema', (file) => {
    const text = readFileSync(new URL(`config/${file}`, root), 'utf8');
    expect(parseConfig(text, { file }).backends.length).toBeGreaterThan(0);
    expect(text.split('\n')[0]).toBe('# yaml-language-server: $schema=./stepgate.schema.json');
  });

  test('there are examples', () => {
    expect(examples.length).toBeGreaterThanOrEqual(3);
  });

  test.each([
    ['config/stepgate.schema.json', configSchemaText],
    ['docs/config.md', configMarkdown],
  ])('%s is what the schema says', (file, print) => {
    const written = readFileSync(new URL(file, root), 'utf8');
    expect(written === `${print()}\n`, `${file} is stale: run "npm run schema"`).toBe(true);
  });

  test('every key is described', () => {
    const bare: string[] = [];
    const look = (node: unknown, path: string): void => {
      if (typeof node !== 'object' || node === null) return;
      for (const [key, child] of Object.entries((node as { properties?: object }).properties ?? {})) {
        if ((child as { description?: string }).description === undefined) bare.push(`${path}${key}`);
        look(child, `${path}${key}.`);
      }
      const { items, additionalProperties } = node as { items?: unknown; additionalProperties?: unknown };
      look(items, `${path}[].`);
      look(additionalProperties, `${path}*.`);
    };
    look(JSON.parse(configSchemaText()), '');
    expect(bare).toEqual([]);
  });
});

test('the variables that hold keys are known wherever the config names one', () => {
  const config = parseConfig(
    `backends: [{ name: a, url: "http://a", keyEnv: A }, { name: b, url: "http://b" }]
sources:
  hf: { keyEnv: B }
  s3: { keyEnv: C }
  mlflow: { url: "http://m", keyEnv: D }
  wandb: { keyEnv: E }
  hosts: { h: { keyEnv: F }, i: { keyFile: g } }`,
    { file: 'gate.yaml' },
  );
  expect([...keyVariables(config)].toSorted()).toEqual(['A', 'B', 'C', 'D', 'E', 'F']);
});
