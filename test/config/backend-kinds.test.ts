// Backends of each kind in the config: which keys mean something for which, and templates that could not tell one step from another.
import { describe, expect, test } from 'vitest';
import { parseConfig } from '../../src/config.ts';
import { parseTemplate } from '../../src/model-template.ts';

const checkpoint = { id: 'a-uuid', name: 'my-model@80', model: 'my-model', step: 80 } as never;
const exact = { id: 'a-uuid', name: 'champion', model: 'champion', step: undefined } as never;

describe('a template of what a service calls a checkpoint', () => {
  test.each([
    ['tinker://run:train:0/sampler_weights/{step:06}', 'tinker://run:train:0/sampler_weights/000080'],
    ['wandb-artifact:///entity/project/{model}:step{step}', 'wandb-artifact:///entity/project/my-model:step80'],
    ['ft:gpt:org:tuned:id:ckpt-step-{step}', 'ft:gpt:org:tuned:id:ckpt-step-80'],
    ['{name}/{id}', 'my-model@80/a-uuid'],
    ['{step:01}', '80'],
  ])('%s', (text, name) => {
    const template = parseTemplate(text);
    expect(typeof template === 'string' ? template : template.fill(checkpoint)).toBe(name);
  });

  test('that asks for a step names nothing that has none', () => {
    const [stepped, named] = [parseTemplate('x/{step}'), parseTemplate('x/{name}')];
    if (typeof stepped === 'string' || typeof named === 'string') throw new Error('no template');
    expect([stepped.fill(exact), named.fill(exact)]).toEqual([undefined, 'x/champion']);
  });

  test.each([
    ['x/{steps}', /"\{steps\}" is no field: .*\{step:06\}/],
    ['x/{step:6}', /is no field/],
    ['x/{name:06}', /is no field/],
    ['x/{step:099}', /is no field/],
    ['x/{}', /is no field/],
    ['x/{step', /brace without its partner/],
    ['x/step}', /brace without its partner/],
    ['ft:org:model', /no field that tells one step from another.*same weights/],
    ['x/{model}', /no field that tells one step from another/],
  ])('is refused: %s', (text, about) => expect(parseTemplate(text)).toMatch(about));
});

const parse = (row: string) => parseConfig(`backends: [{ name: a, url: "http://h:1", ${row} }]`, { file: undefined });

describe('a backend of a kind', () => {
  test('openai-compatible has bases, models and health, and no slots', () => {
    const [row] = parse('kind: openai-compatible, bases: [b], models: { m: "x/{step}" }, health: none').backends;
    expect(row).toMatchObject({ kind: 'openai-compatible', bases: ['b'], models: { m: 'x/{step}' }, health: 'none' });
    expect(Object.isFrozen(row?.models)).toBe(true);
    expect(parse('kind: openai-compatible, bases: [b]').backends[0]?.models).toEqual({});
  });

  test.each([
    ['kind: openai-compatible', /needs "bases"/],
    ['kind: openai-compatible, bases: []', /bases/],
    ['kind: openai-compatible, bases: [b], slots: 4', /"slots" means nothing to kind openai-compatible/],
    ['kind: openai-compatible, bases: [b], storePath: /x', /"storePath" means nothing/],
    ['kind: openai-compatible, bases: [b], models: { m: "x" }', /every step would be the same weights/],
    ['kind: sglang, bases: [b]', /"bases" is of kind openai-compatible alone/],
    ['kind: lorax, models: { m: "x/{step}" }', /"models" is of kind openai-compatible alone/],
    ['health: none', /"health" is of kind openai-compatible alone/],
    ['kind: tgi', /vllm.*sglang.*lorax.*openai-compatible/],
  ])('is refused: %s', (row, about) => expect(() => parse(row)).toThrow(about));
});
