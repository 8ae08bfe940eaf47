import { mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { as, type BaseName } from '../../src/domain.ts';
import { BaseReader } from '../../src/registry/base-modules.ts';
import { CONFIG, openRegistry, scratch, withHeader } from './fixtures.ts';

type Shapes = Readonly<Record<string, readonly number[]>>;

/** A whole safetensors file of zeros. */
function weights(shapes: Shapes, dtype = 'F16'): Buffer {
  let end = 0;
  const header = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => {
      const begin = end;
      end += shape.reduce((product, size) => product * size, dtype === 'U8' ? 1 : dtype === 'F32' ? 4 : 2);
      return [name, { dtype, shape, data_offsets: [begin, end] }];
    }),
  );
  return withHeader(header, Buffer.alloc(end));
}

const Q = 'model.layers.0.self_attn.q_proj';
const TINY: Shapes = {
  'model.embed_tokens.weight': [32, 8],
  [`${Q}.weight`]: [16, 8],
  'model.norm.weight': [8],
  'model.layers.0.mlp.experts.0.w1.weight': [8, 8],
};

/** Returns its root. */
function writeBase(shapes = TINY): string {
  const root = scratch();
  writeFileSync(join(root, 'model.safetensors'), weights(shapes));
  return root;
}

/** `files`: by shard, what it holds; `listed`: the names that the index gives them, where they are others. */
function writeShards(files: Readonly<Record<string, Buffer>>, listed = Object.keys(files)): string {
  const root = scratch();
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(root, name), bytes);
  const weight_map = Object.fromEntries(listed.map((shard, index) => [`tensor${index}`, shard]));
  writeFileSync(join(root, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map }));
  return root;
}

describe("a base's modules", () => {
  test('are those of its one file, with the shapes of their weights and without experts', async () => {
    expect(await new BaseReader().modulesOf(writeBase())).toEqual(
      new Map([
        ['model.embed_tokens', [32, 8]],
        [Q, [16, 8]],
        ['model.norm', [8]],
      ]),
    );
  });

  test('are those of all its shards', async () => {
    const files = { 'a.safetensors': weights({ 'x.weight': [1, 2] }), 'b.safetensors': weights({ 'y.bias': [3] }) };
    expect(await new BaseReader().modulesOf(writeShards(files))).toEqual(
      new Map([
        ['x', [1, 2]],
        ['y', undefined],
      ]),
    );
  });

  test('have no shape where their weights are packed', async () => {
    const root = scratch();
    writeFileSync(join(root, 'model.safetensors'), weights({ 'x.weight': [64, 1], 'y.qweight': [4, 4] }, 'U8'));
    expect(await new BaseReader().modulesOf(root)).toEqual(
      new Map([
        ['x', undefined],
        ['y', undefined],
      ]),
    );
  });

  const x = weights({ 'x.weight': [1, 2] });
  test.each<[string, () => string | undefined]>([
    ['no root', () => undefined],
    ["a hub's id", () => 'Qwen/Qwen3-8B'],
    ['a relative path', () => 'src'],
    ['no directory', () => join(scratch(), 'nothing')],
    ['an empty directory', () => scratch()],
    ['a file cut short', () => writeShards({ 'model.safetensors': x.subarray(0, -1) })],
    ['a missing shard', () => writeShards({ 'a.safetensors': x }, ['a.safetensors', 'b.safetensors'])],
    ['a shard outside the root', () => writeShards({ 'a.safetensors': x }, ['../a.safetensors'])],
    ['an index of another shape', () => writeShards({ 'model.safetensors.index.json': x })],
  ])('are not known of %s', async (_, root) => expect(await new BaseReader().modulesOf(root())).toBeUndefined());

  test('are read again only when its file was written again', async () => {
    const root = writeBase();
    const reader = new BaseReader();
    const first = await reader.modulesOf(root);
    expect(await reader.modulesOf(root)).toBe(first);
    writeFileSync(join(root, 'model.safetensors'), weights({ 'x.weight': [1, 2] }));
    utimesSync(join(root, 'model.safetensors'), 1, 1);
    expect(await reader.modulesOf(root)).toEqual(new Map([['x', [1, 2]]]));
    rmSync(join(root, 'model.safetensors'));
    expect(await reader.modulesOf(root)).toBeUndefined();
  });

  test('are found once the last shard has come', async () => {
    const root = writeShards({ 'a.safetensors': x }, ['a.safetensors', 'b.safetensors']);
    const reader = new BaseReader();
    expect(await reader.modulesOf(root)).toBeUndefined();
    writeFileSync(join(root, 'b.safetensors'), weights({ 'y.weight': [3, 4] }));
    expect((await reader.modulesOf(root))?.size).toBe(2);
  });
});

describe('a checkpoint is judged by the base that an engine serves', () => {
  /** A directory with one LoRA pair of rank 4. */
  function writeAdapter(module: string, [into, out]: readonly [into: number, out: number]): string {
    const dir = join(scratch(), 'adapter');
    mkdirSync(dir);
    const pair = { [`${module}.lora_A.weight`]: [4, into], [`${module}.lora_B.weight`]: [out, 4] };
    writeFileSync(join(dir, 'adapter_model.safetensors'), weights(pair, 'F32'));
    writeFileSync(join(dir, 'adapter_config.json'), JSON.stringify(CONFIG));
    return dir;
  }

  async function withBase(root: string) {
    const { registry } = await openRegistry(scratch());
    registry.catalog.setBases([{ name: as<BaseName>('base'), maxModelLen: undefined, root }]);
    return registry;
  }

  test('what fits is taken without a word, wherever the base lies', async () => {
    const registry = await withBase(writeBase());
    const { warnings } = await registry.register({ name: 'm@1', path: writeAdapter(`base_model.model.${Q}`, [8, 16]) });
    expect(warnings).toEqual([]);
  });

  test('other shapes are refused with the numbers', async () => {
    const registry = await withBase(writeBase());
    const path = writeAdapter(`base_model.model.${Q}`, [8, 12]);
    await expect(registry.register({ name: 'm@1', path })).rejects.toMatchObject({
      code: 'checkpoint_not_servable',
      message: expect.stringContaining("lora_A [4,8], lora_B [12,4], the base's weight [16,8]"),
    });
  });

  test('a base that cannot be read refuses nothing', async () => {
    const registry = await withBase('/nowhere/base');
    const path = writeAdapter(`base_model.model.${Q}`, [8, 12]);
    await expect(registry.register({ name: 'm@1', path })).resolves.toMatchObject({ state: { kind: 'servable' } });
  });
});
