// Promise: generation parameters by HF's names become exactly the engine's; what cannot be kept is refused, never dropped.
import { describe, expect, test } from 'vitest';
import { checkGeneration, engineParameters, GENERATION_KEYS, warningsOf } from '../../src/deployments/generation.ts';

const refusal = (generation: Record<string, unknown>): string => {
  try {
    checkGeneration(generation, 'generation');
  } catch (error) {
    return (error as Error).message;
  }
  return 'accepted';
};

describe('translation', () => {
  test('of all that an engine has', () => {
    const generation = {
      max_new_tokens: 60,
      min_new_tokens: 2,
      temperature: 0.8,
      top_p: 1,
      top_k: 50,
      min_p: 0.05,
      repetition_penalty: 1.1,
      presence_penalty: -1,
      frequency_penalty: 0.5,
      stop_strings: '\n\n',
      eos_token_id: [2, 7],
      pad_token_id: 2,
      seed: 0,
      num_beams: 1,
      do_sample: true,
      max_length: null,
    };
    checkGeneration(generation, 'generation');
    expect(engineParameters(generation)).toEqual({
      max_tokens: 60,
      min_tokens: 2,
      temperature: 0.8,
      top_p: 1,
      top_k: 50,
      min_p: 0.05,
      repetition_penalty: 1.1,
      presence_penalty: -1,
      frequency_penalty: 0.5,
      stop: ['\n\n'],
      stop_token_ids: [2, 7],
      seed: 0,
    });
  });

  test.each([
    [{ do_sample: false }, {}, { temperature: 0 }],
    [{ do_sample: false, temperature: 0.7 }, {}, { temperature: 0 }],
    [{ do_sample: true }, {}, { temperature: 1 }],
    [{ do_sample: true, temperature: null }, {}, { temperature: 1 }],
    [{ do_sample: null, temperature: 0.3 }, {}, { temperature: 0.3 }],
    [{}, {}, {}],
    [{ top_k: 0 }, {}, { top_k: -1 }],
    [{ temperature: 0.2, top_p: 0.9 }, { temperature: 0.5 }, { temperature: 0.5, top_p: 0.9 }],
    [{ temperature: 0.2 }, { temperature: null }, { temperature: 0.2 }],
    [{ do_sample: false }, { temperature: 0.5 }, { temperature: 0.5 }],
    [{ temperature: 0.2 }, { do_sample: false }, { temperature: 0 }],
    [{ do_sample: false, temperature: 0.2 }, { do_sample: true }, { temperature: 0.2 }],
    [{ temperature: 0 }, { do_sample: true }, { temperature: 1 }],
    [{ do_sample: true }, { temperature: 0 }, { temperature: 0 }],
    [{ stop_strings: ['a'] }, { stop: 'b' }, { stop: ['b'] }],
  ])('of the defaults %j and the call %j is %j', (defaults, call, engine) => {
    expect(engineParameters(defaults, call)).toEqual(engine);
  });
});

describe('a check', () => {
  test.each([
    [{ temperature: 'hot' }, '`generation.temperature` must be a number from 0; it is "\\"hot\\""'],
    [{ temperature: -1 }, 'a number from 0'],
    [{ temperature: Number.NaN }, 'a number from 0'],
    [{ max_new_tokens: 2.5 }, 'a whole number from 1'],
    [{ max_new_tokens: '60' }, 'a whole number from 1'],
    [{ top_p: 0 }, 'above 0'],
    [{ do_sample: 'yes' }, 'true or false'],
    [{ stop: [] }, 'a list of texts'],
    [{ stop: ['a', ''] }, 'a list of texts'],
    [{ stop: 'a', stop_strings: 'b' }, 'leave one out'],
    [{ do_sample: true, temperature: 0 }, 'which is greedy: leave one out'],
    [{ num_beams: 4 }, '`generation.num_beams` must be 1, or left out'],
    [{ max_length: 200 }, 'write max_new_tokens'],
    [{ max_tokens: 60 }, 'Nearest: max_new_tokens, max_length. Known: max_new_tokens, '],
    [{ temprature: 1 }, 'Nearest: temperature. Known'],
    [{ zzz: 1 }, 'has an unknown key "zzz". Known: max_new_tokens'],
    [{ toString: 1 }, 'unknown key "toString"'],
    [JSON.parse('{"__proto__": 1}'), 'unknown key "__proto__"'],
  ])('refuses %j and says what to write', (generation, words) => {
    expect(refusal(generation)).toContain(words);
  });

  test('takes null for any known key: it is not given', () => {
    for (const key of GENERATION_KEYS) expect(refusal({ [key]: null }), key).toBe('accepted');
    expect(engineParameters(Object.fromEntries(GENERATION_KEYS.map((key) => [key, null])))).toEqual({});
  });
});

test('greedy with a temperature is said, for the temperature does nothing', () => {
  expect(warningsOf({ do_sample: false, temperature: 0.7 })).toEqual([expect.stringContaining('temperature 0.7')]);
  for (const quiet of [{ do_sample: false }, { do_sample: false, temperature: 0 }, { do_sample: true, temperature: 1 }])
    expect(warningsOf(quiet)).toEqual([]);
});
