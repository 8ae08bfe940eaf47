import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { as, type BaseName } from '../../src/domain.ts';
import { type Contents, preflight, type Surroundings, servableOn } from '../../src/registry/preflight.ts';
import { findNaN, parseHeader, type Tensor } from '../../src/registry/safetensors.ts';
import { CONFIG, original, scratch, withHeader } from './fixtures.ts';

const tensor = (...shape: number[]): Tensor => ({ dtype: 'F32', shape, begin: 0, end: 0 });
const LAYER = 'base_model.model.model.layers.0.self_attn.q_proj';
const pair = (module = LAYER, [rankOfA, rankOfB] = [4, 4]): [string, Tensor][] => [
  [`${module}.lora_A.weight`, tensor(rankOfA, 16)],
  [`${module}.lora_B.weight`, tensor(32, rankOfB)],
];
const contents = (config: unknown, more: Partial<Contents> = {}): Contents => ({
  config,
  tensors: new Map(pair()),
  pickle: undefined,
  architecture: undefined,
  ...more,
});

function reasons(of: Contents, surroundings?: Surroundings): string {
  const verdict = preflight(of, surroundings);
  return verdict.kind === 'servable' ? '' : verdict.reasons.join('\n');
}

/** The warnings of what is servable. */
function warnings(of: Contents, surroundings?: Surroundings): string {
  const verdict = preflight(of, surroundings);
  return verdict.kind === 'servable' ? verdict.warnings.join('\n') : expect.fail(verdict.reasons.join('\n'));
}

test('a plain LoRA adapter is servable without a warning, and its rank is known', () => {
  const plain = { kind: 'servable', rank: 4, warnings: [] };
  expect(preflight(contents(CONFIG))).toEqual(plain);
  expect(preflight(contents({ ...CONFIG, target_modules: 'all-linear', use_rslora: true }))).toEqual(plain);
  expect(preflight(contents({ ...CONFIG, init_lora_weights: 'gaussian' }))).toEqual(plain);
});

describe('what engines refuse, or would serve wrongly, is told with its reason', () => {
  test.each([
    ['peft_type', 'IA3'],
    ['peft_type', undefined],
    ['r', undefined],
    ['r', 0],
    ['r', 1.5],
    ['lora_alpha', undefined],
    ['lora_alpha', 0],
    ['target_modules', null],
    ['target_modules', []],
    ['use_dora', true],
    ['bias', 'all'],
    ['lora_bias', true],
    ['modules_to_save', ['lm_head']],
    ['trainable_token_indices', [1]],
    ['layer_replication', [[0, 4]]],
    ['alora_invocation_tokens', [1, 2]],
    ['use_qalora', true],
    ['use_bdlora', { nblocks: 2 }],
    ['init_lora_weights', 'pissa_niter_16'],
    ['rank_pattern', { q_proj: 0 }],
  ])('%s: %j', (key, value) => expect(reasons(contents({ ...CONFIG, [key]: value }))).toContain(key));

  test('every reason is told, not only the first', () => {
    expect(reasons(contents({ ...CONFIG, use_dora: true, bias: 'all', lora_alpha: 0 })).split('\n')).toHaveLength(3);
  });

  test('a pickle, no tensors, a full model', () => {
    expect(reasons(contents(CONFIG, { tensors: undefined, pickle: 'adapter_model.bin' }))).toContain(
      'adapter_model.bin is a pickle',
    );
    expect(reasons(contents(CONFIG, { tensors: new Map() }))).toContain('no tensors');
    expect(reasons(contents(undefined, { architecture: 'LlamaForCausalLM' }))).toContain(
      'full model (LlamaForCausalLM)',
    );
  });

  test.each([[null], [[]], ['text'], [5]])('a config that is %j', (config) =>
    expect(reasons(contents(config))).not.toBe(''),
  );

  test.each<[string, [string, Tensor][], string]>([
    ['of another rank than the config says', pair(LAYER, [8, 8]), `r is 4, but the tensors have another rank: `],
    ['whose two ranks differ', pair(LAYER, [4, 8]), 'lora_A [4,16], lora_B [32,8]'],
    ['that are no matrices', [[`${LAYER}.lora_A.weight`, tensor(4)], ...pair().slice(1)], 'lora_A [4]'],
    ['of which one half is missing', pair().slice(0, 1), 'only one is there'],
    ['of DoRA', [...pair(), [`${LAYER}.lora_magnitude_vector`, tensor(32)]], 'lora_magnitude_vector'],
    ['of the base itself', [...pair(), [`${LAYER}.weight`, tensor(32, 16)]], 'No LoRA matrix'],
  ])('tensors %s', (_, tensors, reason) =>
    expect(reasons(contents(CONFIG, { tensors: new Map(tensors) }))).toContain(reason),
  );

  test('of a thousand wrong tensors three are named and the rest counted', () => {
    const many = Array.from({ length: 1000 }, (_, layer) => pair(`model.layers.${layer}.q_proj`, [8, 8])).flat();
    expect(reasons(contents(CONFIG, { tensors: new Map(many) }))).toMatch(/layers\.2\.q_proj \(8\) and 997 more\./);
  });

  test('tensors that hold NaN, by the name of the first', () => {
    expect(reasons(contents(CONFIG), { nan: 'layers.3.q_proj.lora_B.weight' })).toContain(
      'layers.3.q_proj.lora_B.weight holds NaN',
    );
  });
});

describe('what may be wrong is a warning', () => {
  test('ranks and alphas per module: newer engines heed them; the rank is then the greatest', () => {
    const tensors = new Map([...pair(), ...pair('model.layers.1.q_proj', [16, 16])]);
    const patterns = { ...CONFIG, rank_pattern: { 'layers.1.q_proj': 16 }, alpha_pattern: { q_proj: 1 } };
    expect(preflight(contents(patterns, { tensors }))).toMatchObject({ kind: 'servable', rank: 16 });
    expect(warnings(contents(patterns, { tensors }))).toMatch(/^rank_pattern: .*\nalpha_pattern: /);
  });

  test('tensors that target_modules does not name, and modules that have none', () => {
    const said = warnings(contents({ ...CONFIG, target_modules: ['self_attn.q_proj', 'v_proj'] }));
    expect(said).toContain('without tensors, so it is served as in the base: v_proj');
    expect(said).not.toContain('q_proj');
    expect(warnings(contents({ ...CONFIG, target_modules: ['o_proj'] }))).toContain('PEFT does not: model.layers.0');
  });

  test.each([
    ['Qwen/Qwen3-8B', 'base', '/models/Qwen3-8B', false],
    ['/elsewhere/qwen3-8b/', 'Qwen/Qwen3-8B', 'Qwen/Qwen3-8B', false],
    ['Qwen/Qwen3-8B', 'base', '/cache/models--Qwen--Qwen3-8B/snapshots/0f3a', false],
    ['/a/models--Qwen--Qwen3-8B/snapshots/0f3a', 'base', '/b/models--Qwen--Qwen3-8B/snapshots/77c1', false],
    ['/a/models--Qwen--Qwen3-8B/snapshots/0f3a', 'Qwen/Qwen3-8B', '/models/x', false],
    ['/a/models--Qwen--Qwen3-8B/snapshots/0f3a', 'base', '/b/models--Qwen--Qwen3-14B/snapshots/0f3a', true],
    ['my-alias', 'my-alias', '/models/x', false],
    ['Qwen/Qwen3-8B', 'base', 'Qwen/Qwen3-14B', true],
    ['', 'base', 'Qwen/Qwen3-14B', false],
  ])('trained on %s, served on %s of %s: another base is %s', (trained, name, root, other) => {
    const base = { name: as<BaseName>(name), maxModelLen: undefined, root };
    const said = warnings(contents({ ...CONFIG, base_model_name_or_path: trained }), { base });
    expect(said.includes('not the same model')).toBe(other);
  });

  test('nothing is said of a base that no engine has described', () => {
    expect(warnings(contents({ ...CONFIG, base_model_name_or_path: 'x' }))).toBe('');
  });
});

describe('against the modules of a base', () => {
  const base = { name: as<BaseName>('base'), maxModelLen: undefined, root: '/models/base' };
  const llama = (prefix = 'model.') =>
    new Map(
      Object.entries({
        [`${prefix}embed_tokens`]: [100, 16],
        [`${prefix}layers.0.self_attn.q_proj`]: [32, 16],
        [`${prefix}layers.1.self_attn.q_proj`]: [32, 16],
        [`${prefix}layers.1.mlp.down_proj`]: [16, 64],
        [`${prefix}layers.1.mlp.gate`]: [8, 16],
      }),
    );
  /** Of rank 4, by module: [in, out]. */
  const adapter = (modules: Readonly<Record<string, readonly [into: number, out: number]>>, more = {}) =>
    contents(
      { ...CONFIG, target_modules: 'all-linear', base_model_name_or_path: '', ...more },
      {
        tensors: new Map(
          Object.entries(modules).flatMap(([module, [into, out]]) =>
            module.endsWith('embed_tokens')
              ? [
                  [`base_model.model.${module}.lora_embedding_A`, tensor(4, into)],
                  [`base_model.model.${module}.lora_embedding_B`, tensor(out, 4)],
                ]
              : [
                  [`base_model.model.${module}.lora_A.weight`, tensor(4, into)],
                  [`base_model.model.${module}.lora_B.weight`, tensor(out, 4)],
                ],
          ),
        ),
      },
    );
  const q = (layer: number, prefix = 'model.') => `${prefix}layers.${layer}.self_attn.q_proj`;
  const Q0 = { [q(0)]: [16, 32] } as const;

  test.each<[string, Contents, Surroundings['modules']]>([
    ['modules of it', adapter({ ...Q0, 'model.layers.1.mlp.down_proj': [64, 16] }), llama()],
    ['its embedding, the other way round', adapter({ ...Q0, 'model.embed_tokens': [100, 16] }), llama()],
    ['a head that is its embedding', adapter({ ...Q0, lm_head: [16, 100] }), llama()],
    ['a head of which nothing is known', adapter({ lm_head: [16, 100] }), new Map([['h.0.attn.c_attn', [16, 48]]])],
    ['experts, however they are called', adapter({ ...Q0, 'model.layers.0.mlp.experts': [1, 1] }), llama()],
    ['a weight that is packed', adapter({ [q(0)]: [1, 1] }), new Map([[q(0), undefined]])],
    ['no matrix', adapter({ 'model.layers.0.conv': [1, 1] }), new Map([['model.layers.0.conv', [4, 4, 4]]])],
    [
      'weights stored as [in, out], as its config says',
      adapter({ 'transformer.h.0.attn.c_attn': [16, 48] }, { fan_in_fan_out: true }),
      new Map([['h.0.attn.c_attn', [16, 48]]]),
    ],
    [
      'multimodal names in another order, and of two towers the one that fits',
      adapter({ [q(0, 'model.language_model.')]: [16, 32] }),
      new Map([...llama('language_model.model.'), [q(0, 'vision_tower.encoder.'), [7, 7]]]),
    ],
  ])('nothing is said of %s', (_, of, modules) => {
    expect(preflight(of, { base, modules })).toEqual({ kind: 'servable', rank: 4, warnings: [] });
  });

  test.each<[string, Contents, string]>([
    ['a layer that it does not have', adapter({ ...Q0, [q(7)]: [16, 32] }), `/models/base has no ${q(7)}.`],
    ['only such layers', adapter({ [q(7)]: [16, 32] }), `has no ${q(7)}.`],
    [
      'a kind of module that it does not have',
      adapter({ ...Q0, 'model.layers.0.z_proj': [16, 32] }),
      'no model.layers.0.z_proj',
    ],
    ['an input too wide', adapter({ [q(0)]: [17, 32] }), "lora_A [4,17], lora_B [32,4], the base's weight [32,16]"],
    ['an output too narrow', adapter({ [q(0)]: [16, 31] }), 'do not fit'],
    ['matrices turned round', adapter({ [q(0)]: [32, 16] }), 'do not fit'],
    ['another vocabulary', adapter({ 'model.embed_tokens': [101, 16] }), 'do not fit'],
    ['a head of another vocabulary', adapter({ ...Q0, lm_head: [16, 101] }), 'do not fit'],
    ['another shape under another prefix', adapter({ [q(0, 'a.')]: [16, 33] }), 'do not fit'],
  ])('refused: %s', (_, of, reason) => expect(reasons(of, { base, modules: llama() })).toContain(reason));

  test.each<[string, Contents, string]>([
    [
      'none of its modules',
      adapter({ 'net.blocks.0.q': [16, 32], 'net.blocks.1.q': [16, 32] }),
      'net.blocks.0.q, net.blocks.1.q',
    ],
    [
      'a name that only stands elsewhere',
      adapter({ ...Q0, 'model.layers.0.router.gate': [16, 8] }),
      'layers.0.router.gate',
    ],
    [
      "a trainer's wrapper around every name",
      adapter({ [q(0, '_orig_mod.model.')]: [16, 32] }),
      '_orig_mod.model.layers.0',
    ],
  ])('warned of, once: %s', (_, of, name) => {
    const said = warnings(of, { base, modules: llama() });
    expect(said).toContain(name);
    expect(said).toMatch(/^[^\n]*Unless the engine translates it, the base itself answers there, without a word\.$/);
  });
});

test('the backends that would load a rank are those whose limit allows it, or is not known', () => {
  const [a, b, c] = [{ rankMax: 16 }, { rankMax: 64 }, { rankMax: undefined }];
  const backends = [a, b, c];
  expect(servableOn(32, backends)).toEqual({ ready: [b, c], refusing: [a] });
  expect(servableOn(16, backends)).toEqual({ ready: backends, refusing: [] });
});

describe('NaN is found in tensors of', () => {
  const bits = (dtype: string, value: number) =>
    dtype === 'F32' ? Buffer.from(new Uint32Array([value]).buffer) : Buffer.from(new Uint16Array([value]).buffer);
  const search = async (dtype: string, values: readonly number[]) => {
    const data = Buffer.concat(values.map((value) => bits(dtype, value)));
    const half = data.length / 2;
    const elements = dtype === 'F8_E4M3' ? half : 1;
    const header = {
      a: { dtype, shape: [elements], data_offsets: [0, half] },
      b: { dtype, shape: [elements], data_offsets: [half, data.length] },
    };
    const path = join(scratch(), 'adapter_model.safetensors');
    writeFileSync(path, withHeader(header, data));
    const parsed = parseHeader(JSON.stringify(header));
    return findNaN(await original(path), typeof parsed === 'string' ? expect.fail(parsed) : parsed.tensors);
  };

  test('a file too large to be searched whole: at the beginning of each', async () => {
    const path = join(scratch(), 'adapter_model.safetensors');
    const bytes = 6 * 1024 * 1024;
    const header = {
      a: { dtype: 'F32', shape: [bytes / 4], data_offsets: [0, bytes] },
      b: { dtype: 'F32', shape: [bytes / 4], data_offsets: [bytes, 2 * bytes] },
    };
    const parsed = parseHeader(JSON.stringify(header));
    const { tensors } = typeof parsed === 'string' ? expect.fail(parsed) : parsed;
    const whole = Buffer.alloc(2 * bytes);
    whole.fill(0xff, bytes);
    writeFileSync(path, withHeader(header, whole));
    expect(await findNaN(await original(path), tensors)).toBe('b');
    whole.fill(0, bytes, bytes + 4096);
    writeFileSync(path, withHeader(header, whole));
    expect(await findNaN(await original(path), tensors)).toBeUndefined();
  });

  test.each([
    ['F32', [0x3f80_0000, 0x7fc0_0000], 'b'],
    ['F32', [0xff80_0001, 0], 'a'],
    ['F32', [0x7f80_0000, 0xff80_0000], undefined],
    ['BF16', [0x3f80, 0xffc0], 'b'],
    ['BF16', [0x7f80, 0xff80], undefined],
    ['F16', [0x7e00, 0x3c00], 'a'],
    ['F16', [0x7c00, 0x3c00], undefined],
    ['F8_E4M3', [0xffff, 0xffff], undefined],
  ] as const)('%s: %j', async (dtype, values, found) => expect(await search(dtype, values)).toBe(found));
});
