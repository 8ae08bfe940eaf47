// Promise: a source is read as it is documented, or refused with what to write; and what the config allows is exactly what it says.
import { expect, test } from 'vitest';
import { parseConfig } from '../../src/config.ts';
import { isAllowed, isMeant, PATTERN } from '../../src/sources/allow.ts';
import { choose } from '../../src/sources/listing.ts';
import { parseSource, print, subjectOf } from '../../src/sources/uri.ts';

test.each([
  ['hf:my-org/lora', 'hf:my-org/lora', 'hf:my-org/lora@main'],
  ['hf:my-org/lora@refs/pr/1', 'hf:my-org/lora', 'hf:my-org/lora@refs/pr/1'],
  [
    'HF:my-org/lora/runs/checkpoint-5/@v1.0',
    'hf:my-org/lora/runs/checkpoint-5',
    'hf:my-org/lora/runs/checkpoint-5@v1.0',
  ],
  ['s3://ckpts', 's3://ckpts', 's3://ckpts'],
  ['s3://ckpts/a b/5/', 's3://ckpts/a b/5', 's3://ckpts/a b/5'],
  ['s3://ckpts/a#1?', 's3://ckpts/a#1?', 's3://ckpts/a#1?'],
  ['mlflow:models:/my lora ü/5', 'mlflow:models:/my lora ü', 'mlflow:models:/my lora ü/5'],
  ['https://host/a b', 'https://host/a%20b', 'https://host/a%20b'],
  ['mlflow:models:/name/5', 'mlflow:models:/name', 'mlflow:models:/name/5'],
  ['mlflow:models:/name@champion/peft', 'mlflow:models:/name', 'mlflow:models:/name@champion/peft'],
  ['wandb:team/runs/my-model:v3', 'wandb:team/runs/my-model', 'wandb:team/runs/my-model:v3'],
  ['https://Models.Example.com:443/a/../b/?sig=1#x', 'https://models.example.com/b', 'https://models.example.com/b'],
])('%s is %s to the list of what is allowed, and printed as %s', (text, subject, printed) => {
  const source = parseSource(text);
  expect(subjectOf(source)).toBe(subject);
  expect(print(source)).toBe(printed);
  // The line that is told where it is not allowed.
  expect(subject).toMatch(PATTERN);
  expect(isAllowed([subject], subject)).toBe(true);
});

test.each([
  ['gs://bucket/a', 'hf:org/repo@revision, s3://'],
  ['runs/my-model', 'no known kind'],
  ['hf:lora', 'hf:org/repo'],
  ['hf:my-org/../other/lora', '..'],
  ['hf:my-org/lora@../main', 'hf:org/repo'],
  ['hf:my-org//lora', 'empty part'],
  ['s3:ckpts/a', 's3://bucket/folder'],
  ['s3://Bad_Bucket/a', 's3://bucket/folder'],
  ['mlflow:models:/name', 'mlflow:models:/name/5'],
  ['mlflow:models:/name/latest', 'mlflow:models:/name/5'],
  ['wandb:team/runs/my-model', ':v3'],
  ['https://user:hunter2@host/a', 'sources.hosts'],
  ['https://user:hunter2#a@host/a', '"https://***@host/a" is no URL'],
  ['s3://AKIDEXAMPLE:hunter2@ckpts//a', 's3://bucket/folder'],
  ['ftp://user:hunter2@host/a', 'no known kind'],
  ['https://host/a/..%2f..%2fb', 'encoded'],
  ['https://host/a.zip', '.tar.gz'],
  ['https://', 'https://host/folder'],
])('%s is refused, and the message holds "%s"', (text, fix) => {
  expect(() => parseSource(text)).toThrow(
    expect.objectContaining({ code: 'invalid_request', param: 'source', message: expect.stringContaining(fix) }),
  );
  expect(() => parseSource(text)).not.toThrow(/hunter2/);
});

test.each([
  ['hf:my-org/*', 'hf:my-org/lora', true],
  ['hf:my-org', 'hf:my-org/lora/a', true],
  ['hf:my-org/llama-*', 'hf:my-org/llama-3', true],
  ['hf:my-org/llama-*', 'hf:my-org/qwen', false],
  ['hf:my-org/lora', 'hf:my-org/lora2', false],
  ['hf:my-org/*', 'hf:my-org-evil/lora', false],
  ['hf:*', 'hf:any/lora', true],
  ['hf:*', 's3://any', false],
  ['s3://ckpts/runs/', 's3://ckpts/runs/5', true],
  ['s3://ckpts/runs', 's3://ckpts/runs2', false],
  ['s3://ckpts/*/best', 's3://ckpts/a/best/x', true],
  ['s3://ckpts/*/best', 's3://ckpts/a/b/best', false],
  ['https://models.example.com/', 'https://models.example.com/a', true],
  ['https://models.example.com', 'https://models.example.com.evil.org/a', false],
  ['https://*.example.com/', 'https://a.example.com/b', true],
  ['https://*.example.com/', 'https://example.com/b', false],
  ['https://models.example.com/', 'http://models.example.com/a', false],
  ['hf:a*b*c/', 'hf:aXbYc/lora', true],
  ['hf:a*b*c/', 'hf:acb/lora', false],
])('%s allows %s: %s', (pattern, subject, allowed) => {
  expect(isAllowed([pattern], subject)).toBe(allowed);
  expect(pattern).toMatch(PATTERN);
});

test('only a host that is written out is meant, whatever its address', () => {
  const url = new URL('http://127.0.0.1:9000/a');
  expect(isMeant(['http://127.0.0.1:9000/'], url)).toBe(true);
  expect(isMeant(['http://*/'], url)).toBe(false);
  expect(isMeant(['http://127.0.0.1:9000/b'], url)).toBe(false);
});

test.each(['*', 'https://', 'hf:', 'models.example.com', 's3:ckpts', 'https://host/?a=1'])(
  '"%s" in sources.allow is refused',
  (pattern) => {
    expect(() => parseConfig(`sources: { allow: [${JSON.stringify(pattern)}] }`, { file: undefined })).toThrow(
      /sources\.allow\[0\].*hf:my-org/,
    );
  },
);

test('a source has an end', () => {
  expect(() => parseSource(`hf:${'a'.repeat(3_000)}/b`)).toThrow(/longer than 2000/);
});

const names = (...paths: string[]) => paths.map((path) => ({ path, size: 10 }));

test('an adapter is its config, its weights and small files beside them', () => {
  const files = names(
    'adapter_config.json',
    'adapter_model.safetensors',
    'optimizer.pt',
    'adapter_model.bin',
    'trainer_state.json',
    'vocab.json',
    'x/README.md',
  );
  const large = [...files, { path: 'README.md', size: 1e9 }, { path: 'config.json', size: undefined }];
  expect(choose(large, '', 'it').map(({ path }) => path)).toEqual([
    'adapter_config.json',
    'adapter_model.safetensors',
    'trainer_state.json',
  ]);
});

test.each([
  [
    'a full model',
    names('config.json', 'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'),
    'full model',
  ],
  ['a pickle', names('adapter_config.json', 'adapter_model.bin'), 'may hold code'],
  ['no weights', names('adapter_config.json'), 'no adapter_model.safetensors'],
  ['two adapters', names('a/adapter_config.json', 'b/adapter_config.json'), 'a, b'],
  ['something else', names('data.parquet'), 'data.parquet'],
  ['nothing', [], 'nothing is there'],
])('of %s it is said what is there: %s', (_, files, about) => {
  expect(() => choose(files, '', 'hf:my-org/it')).toThrow(
    expect.objectContaining({ code: 'checkpoint_invalid', message: expect.stringContaining(about) }),
  );
});
