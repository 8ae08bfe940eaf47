// What a sweep announces is loaded ahead of its requests, and nobody is displaced for it. Transcripts: `>>` what happened, `<<` what was asked for.
import { describe, expect, test } from 'vitest';
import type { AdapterId, BaseName, ModelName, SweepId } from '../../src/domain.ts';
import { Announced, expectedOf } from '../../src/router/announced.ts';
import { replay, trim } from './transcript.ts';

const promise = (name: string, text: string) => test(name, () => expect(replay(text)).toBe(trim(text)));

describe('the next step of a sweep', () => {
  promise(
    'is loaded as soon as a slot is free: one ahead on each backend',
    `>> up gpu-0
     >> announced s m@1:9,m@2:9,m@3:9
     << load gpu-0 m@1 prefetch
     >> loaded gpu-0 m@1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     << load gpu-0 m@2 prefetch
     >> arrived 2 m@1
     << dispatch 2 gpu-0 resident
     >> loaded gpu-0 m@2`,
  );

  promise(
    'takes the slot of the step that is done, while the one between them runs',
    `>> up gpu-0 holds=m@1,m@2
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@2
     << dispatch 2 gpu-0 resident
     >> announced s m@1:1,m@2:9,m@3:9
     >> ended 1
     >> announced s m@2:9,m@3:9
     << unload gpu-0 m@1 prefetch
     >> unloaded gpu-0 m@1
     << load gpu-0 m@3 prefetch
     >> loaded gpu-0 m@3`,
  );

  promise(
    'goes on with a request that came while it was loading',
    `>> up gpu-0
     >> announced s m@1:9
     << load gpu-0 m@1 prefetch
     >> arrived 1 m@1
     >> loaded gpu-0 m@1
     << dispatch 1 gpu-0 prefetch`,
  );

  promise(
    'goes where no other is ahead already',
    `>> up gpu-0
     >> up gpu-1
     >> announced s m@1:9,m@2:9,m@3:9
     << load gpu-0 m@1 prefetch
     << load gpu-1 m@2 prefetch
     >> loaded gpu-0 m@1
     >> loaded gpu-1 m@2`,
  );

  promise(
    'is skipped where it cannot be loaded, and the one after it is loaded',
    `>> up gpu-0 slots=1
     >> announced s m@1:9,m@2:9
     << load gpu-0 m@1 prefetch
     >> loadFailed gpu-0 m@1 adapter it is broken
     << load gpu-0 m@2 prefetch`,
  );
});

describe('nobody is displaced for a guess', () => {
  promise(
    'not an adapter that was asked for just now',
    `>> up gpu-0 slots=1 holds=n@1
     >> arrived 1 n@1
     << dispatch 1 gpu-0 resident
     >> ended 1
     >> announced s m@1:9`,
  );

  promise(
    'not another one that is announced',
    `>> up gpu-0 slots=1
     >> announced s m@1:9,m@2:9
     << load gpu-0 m@1 prefetch
     >> loaded gpu-0 m@1
     >> announced t n@1:9`,
  );

  promise(
    'a line that wants a slot comes first, and may take the one that was loaded ahead',
    `>> up gpu-0 slots=1
     >> announced s m@1:9
     << load gpu-0 m@1 prefetch
     >> arrived 1 n@1
     >> loaded gpu-0 m@1
     << unload gpu-0 m@1 evict
     >> unloaded gpu-0 m@1
     << load gpu-0 n@1 evict
     >> loaded gpu-0 n@1
     << dispatch 1 gpu-0 evict`,
  );

  promise(
    'of two idle adapters, the one that is not announced makes room for a line',
    `>> up gpu-0 holds=m@1,n@1
     >> announced s n@1:9
     @ 10
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> ended 1
     @ 20
     >> arrived 2 m@7
     << unload gpu-0 m@1 evict`,
  );
});

describe('what is announced no more', () => {
  promise(
    'is forgotten with the demand that its sweep made: it makes room before others',
    `>> up gpu-0 holds=m@1,n@1
     >> announced s m@1:3
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1
     << dispatch 2 gpu-0 resident
     >> arrived 3 n@1
     << dispatch 3 gpu-0 resident
     >> ended 3
     >> ended 1
     >> ended 2
     >> withdrawn s
     >> arrived 4 m@9
     << unload gpu-0 m@1 evict`,
  );

  promise(
    'is not loaded ahead; nor is what was retired',
    `>> up gpu-0
     >> retired m@2
     >> announced s m@1:0,m@2:9
     >> withdrawn s
     >> withdrawn never-heard-of`,
  );

  promise(
    'keeps its demand where it is the newest of its model, which others ask for by the bare name',
    `>> up gpu-0 holds=m@1,n@1
     >> published m@1
     << promote m id-m@1
     >> announced s m@1:2
     >> arrived 1 n@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1
     << dispatch 2 gpu-0 resident
     >> arrived 3 m@1
     << dispatch 3 gpu-0 resident
     >> ended 1
     >> ended 2
     >> ended 3
     >> announced s m@1:0
     >> arrived 4 q@1
     << unload gpu-0 n@1 evict`,
  );
});

test('what several sweeps expect of one adapter adds up, and ends with the last of them', () => {
  const announced = new Announced();
  const [one, two] = ['one', 'two'] as SweepId[];
  if (one === undefined || two === undefined) throw new Error('two sweeps');
  const target = {
    kind: 'adapter',
    adapter: 'm@1' as AdapterId,
    model: 'm' as ModelName,
    base: 'base' as BaseName,
    rank: 8,
  } as const;
  const of = () => expectedOf({ announced }, target.adapter);
  expect(announced.replace(one, [{ target, requests: 5 }])).toEqual([]);
  expect(announced.replace(two, [{ target, requests: 7 }])).toEqual([]);
  expect(of()).toBe(12);
  expect(announced.replace(one, [])).toEqual([]);
  expect(of()).toBe(7);
  expect(announced.replace(two, [{ target, requests: 0 }])).toEqual([target]);
  expect([of(), announced.isEmpty]).toEqual([0, true]);
});
