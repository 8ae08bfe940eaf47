import { describe, expect, test } from 'vitest';
import { type Contents, preflight } from '../../src/registry/preflight.ts';
import { CONFIG } from './fixtures.ts';

const tensors = new Map([['a', { dtype: 'F32', shape: [4] }]]);
const contents = (config: unknown, more: Partial<Contents> = {}): Contents => ({
  config,
  tensors,
  pickle: undefined,
  architecture: undefined,
  ...more,
});

function reasons(of: Contents): string {
  const verdict = preflight(of);
  return verdict.kind === 'servable' ? '' : verdict.reasons.join('\n');
}

test('a plain LoRA adapter is servable, and its rank is known', () => {
  expect(preflight(contents(CONFIG))).toEqual({ kind: 'servable', rank: 4 });
  expect(preflight(contents({ ...CONFIG, target_modules: 'all-linear', use_rslora: true }))).toEqual({
    kind: 'servable',
    rank: 4,
  });
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
    ['rank_pattern', { q_proj: 8 }],
    ['alpha_pattern', { q_proj: 8 }],
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
});
