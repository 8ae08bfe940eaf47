import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { inspect } from '../../src/registry/inspect.ts';
import { hf } from '../../src/registry/layouts/hf.ts';
import { parsePythonJson } from '../../src/registry/metadata.ts';
import { readSafetensors } from '../../src/registry/safetensors.ts';
import { safetensors, scratch, withHeader, writeCheckpoint } from './fixtures.ts';

describe('a safetensors file', () => {
  const judge = async (bytes: Buffer) => {
    const path = join(scratch(), 'adapter_model.safetensors');
    writeFileSync(path, bytes);
    return readSafetensors(path);
  };

  test('is whole when its size is 8 + header + tensors', async () => {
    const file = await judge(safetensors(1));
    const tensors = new Map([
      ['q_proj.lora_A.weight', { dtype: 'F32', shape: [4, 1], begin: 0, end: 16 }],
      ['q_proj.lora_B.weight', { dtype: 'F32', shape: [1, 4], begin: 16, end: 32 }],
    ]);
    expect(file).toEqual({ kind: 'whole', tensors });
  });

  test('is broken at every shorter length, and with one byte more', async () => {
    const path = join(scratch(), 'adapter_model.safetensors');
    const bytes = safetensors(1);
    writeFileSync(path, Buffer.concat([bytes, Buffer.alloc(1)]));
    for (let length = bytes.length + 1; length >= 0; length--) {
      truncateSync(path, length);
      expect((await readSafetensors(path)).kind).toBe(length === bytes.length ? 'whole' : 'broken');
    }
  });

  const huge = Buffer.alloc(16);
  huge.writeBigUInt64LE(2n ** 63n);
  const range = (begin: unknown, end: unknown) => ({ dtype: 'F32', shape: [1], data_offsets: [begin, end] });
  test.each<[string, Buffer]>([
    ['a header length beyond any sense', huge],
    ['no JSON', Buffer.concat([Buffer.from([3, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('abc')])],
    ['an array', withHeader([], Buffer.alloc(0))],
    ['no offsets', withHeader({ a: { dtype: 'F32', shape: [1] } }, Buffer.alloc(4))],
    ['negative offsets', withHeader({ a: range(-4, 0) }, Buffer.alloc(0))],
    ['a hole', withHeader({ a: range(4, 8) }, Buffer.alloc(8))],
    ['an overlap', withHeader({ a: range(0, 4), b: range(2, 6) }, Buffer.alloc(6))],
    ['a range that ends before it begins', withHeader({ a: range(0, 8), b: range(8, 4) }, Buffer.alloc(8))],
  ])('is broken with %s', async (_, bytes) => expect((await judge(bytes)).kind).toBe('broken'));
});

describe('a checkpoint directory', () => {
  const missing = async (dir: string) => {
    const inspection = await inspect(dir);
    return inspection.kind === 'incomplete' ? inspection.missing : undefined;
  };

  test('is whole with a config and weights', async () => {
    expect((await inspect(writeCheckpoint(scratch()))).kind).toBe('whole');
  });

  test.each<[string, (dir: string) => void, string]>([
    ['is not there', (dir) => rmSync(dir, { recursive: true }), 'There is no directory'],
    ['has no config', (dir) => rmSync(join(dir, 'adapter_config.json')), 'has no adapter_config.json'],
    ['has half a config', (dir) => writeFileSync(join(dir, 'adapter_config.json'), '{"r": 4,'), 'is not JSON'],
    ['has no weights', (dir) => rmSync(join(dir, 'adapter_model.safetensors')), 'has no adapter_model.safetensors'],
    ['has half the weights', (dir) => truncateSync(join(dir, 'adapter_model.safetensors'), 170), 'has 170 of'],
  ])('that %s: the sentence says so', async (_, damage, sentence) => {
    const dir = writeCheckpoint(join(scratch(), 'checkpoint-5'));
    damage(dir);
    expect(await missing(dir)).toContain(sentence);
  });

  test('that is a file, and files that are pipes or directories, end in a sentence and never hang', async () => {
    const dir = writeCheckpoint(scratch());
    expect(await missing(join(dir, 'adapter_config.json'))).toContain('is a file');
    rmSync(join(dir, 'adapter_model.safetensors'));
    execFileSync('mkfifo', [join(dir, 'adapter_model.safetensors')]);
    expect(await missing(dir)).toContain('not a regular file');
    rmSync(join(dir, 'adapter_config.json'));
    mkdirSync(join(dir, 'adapter_config.json'));
    expect(await missing(dir)).toContain('is not JSON');
  });

  test('with a pickle, or a full model, is whole: it is judged, not waited for', async () => {
    const pickled = writeCheckpoint(scratch());
    rmSync(join(pickled, 'adapter_model.safetensors'));
    writeFileSync(join(pickled, 'adapter_model.bin'), 'pickle');
    expect(await inspect(pickled)).toMatchObject({ kind: 'whole', contents: { pickle: 'adapter_model.bin' } });
    const full = scratch();
    writeFileSync(join(full, 'config.json'), '{"architectures": ["LlamaForCausalLM"]}');
    expect(await inspect(full)).toMatchObject({ kind: 'whole', contents: { architecture: 'LlamaForCausalLM' } });
  });

  test('says another signature when its weights were written again', async () => {
    const dir = writeCheckpoint(scratch(), { seed: 1 });
    const before = await inspect(dir);
    writeFileSync(join(dir, 'adapter_model.safetensors'), safetensors(2));
    const after = await inspect(dir);
    expect(before.kind === 'whole' && after.kind === 'whole' && before.signature !== after.signature).toBe(true);
  });
});

describe('the HF layout', () => {
  test.each([
    ['checkpoint-5', 5],
    ['checkpoint-0', 0],
    ['checkpoint-', undefined],
    ['checkpoint-5.tmp', undefined],
    ['tmp-checkpoint-5', undefined],
    ['runs', undefined],
  ])('%s is step %s', (entry, step) => expect(hf.stepOf(entry)).toBe(step));

  test('is finished by a trainer_state.json that parses, as Python writes it', async () => {
    const dir = writeCheckpoint(scratch(), { marker: false });
    expect(await hf.marker(dir)).toEqual({ kind: 'none' });
    writeFileSync(join(dir, 'trainer_state.json'), '{"log_history": [{"lo');
    expect((await hf.marker(dir)).kind).toBe('unfinished');
    writeFileSync(join(dir, 'trainer_state.json'), '{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \\" Infinity"}');
    expect((await hf.marker(dir)).kind).toBe('finished');
  });

  test('NaN and Infinity read as null, inside strings they stay, and all other JSON reads as ever', () => {
    expect(parsePythonJson('{"a": NaN, "b": [-Infinity], "c": "NaN \\" Infinity"}')).toEqual({
      a: null,
      b: [null],
      c: 'NaN " Infinity',
    });
    fc.assert(
      fc.property(fc.json(), (json) => {
        expect(parsePythonJson(json)).toEqual(JSON.parse(json));
      }),
    );
  });
});
