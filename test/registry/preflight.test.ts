import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { as, type BaseName } from '../../src/domain.ts';
import { type Contents, preflight, type Surroundings, servableOn } from '../../src/registry/preflight.ts';
import { findNaN, parseHeader, type Tensor } from '../../src/registry/safetensors.ts';
import { CONFIG, scratch, withHeader } from './fixtures.ts';

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
    const header = {
      a: { dtype, shape: [1], data_offsets: [0, half] },
      b: { dtype, shape: [1], data_offsets: [half, data.length] },
    };
    const path = join(scratch(), 'adapter_model.safetensors');
    writeFileSync(path, withHeader(header, data));
    const parsed = parseHeader(JSON.stringify(header));
    return findNaN(path, typeof parsed === 'string' ? expect.fail(parsed) : parsed.tensors);
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
    expect(await findNaN(path, tensors)).toBe('b');
    whole.fill(0, bytes, bytes + 4096);
    writeFileSync(path, withHeader(header, whole));
    expect(await findNaN(path, tensors)).toBeUndefined();
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
