// When engines and adapters are kept out of use, as transcripts: `>>` what happened, `<<` what was asked for. The laws that hold whatever happens
// are in laws.ts.
import { describe, expect, test } from 'vitest';
import type { Outcome } from '../../src/router/events.ts';
import { replay, trim } from './transcript.ts';

const promise = (name: string, text: string) => test(name, () => expect(replay(text)).toBe(trim(text)));

/** Requests `from` to `to` for the base, all of which go to gpu-0, and how each ends; gpu-1 is made to look busier. */
const inARow = (from: number, outcomes: readonly Outcome[]): string =>
  outcomes
    .flatMap((outcome, at) => [
      `>> arrived ${from + at} base`,
      `<< dispatch ${from + at} gpu-0 base`,
      `>> ended ${from + at}${outcome === 'done' ? '' : ` ${outcome}`}`,
    ])
    .join('\n');

const times = (count: number, outcome: Outcome): Outcome[] => Array.from({ length: count }, () => outcome);

const TWO = `>> up gpu-0 startedAt=1
  >> up gpu-1 startedAt=1
  >> arrived 1 base
  << dispatch 1 gpu-0 base
  >> arrived 2 base
  << dispatch 2 gpu-1 base
  >> ended 1`;

describe('an engine whose requests fail', () => {
  promise(
    'five in a row is ejected: the next one goes elsewhere, and after 30 s one tries it, and one only',
    `${TWO}
     ${inARow(10, times(5, 'failed'))}
     << standing gpu-0 ejected 30000
     >> arrived 20 base
     << dispatch 20 gpu-1 base
     @ 29999
     >> arrived 21 base
     << dispatch 21 gpu-1 base
     @ 30000
     << standing gpu-0 trial
     >> arrived 22 base
     << dispatch 22 gpu-0 base
     >> arrived 23 base
     << dispatch 23 gpu-1 base
     >> ended 22
     << standing gpu-0 whole
     >> arrived 24 base
     << dispatch 24 gpu-0 base`,
  );

  promise(
    'and fails the trial is ejected for twice as long; a minute of health takes one off again',
    `${TWO}
     ${inARow(10, times(5, 'failed'))}
     << standing gpu-0 ejected 30000
     @ 30000
     << standing gpu-0 trial
     ${inARow(20, ['failed'])}
     << standing gpu-0 ejected 60000
     @ 90000
     << standing gpu-0 trial
     ${inARow(30, ['done'])}
     << standing gpu-0 whole
     @ 150000
     ${inARow(40, times(5, 'failed'))}
     << standing gpu-0 ejected 60000`,
  );

  promise(
    'is tried by the next request when the first one says nothing of it',
    `${TWO}
     ${inARow(10, times(5, 'failed'))}
     << standing gpu-0 ejected 30000
     @ 30000
     << standing gpu-0 trial
     >> arrived 20 base
     << dispatch 20 gpu-0 base
     >> cancelled 20
     ${inARow(21, ['declined'])}
     << standing gpu-0 whole`,
  );

  promise(
    'four times, and then not, is not ejected; nor by answers that its callers deserved',
    `${TWO}
     ${inARow(10, [...times(4, 'failed'), 'done', ...times(4, 'failed'), 'declined', ...times(9, 'declined')])}`,
  );

  promise(
    'with 500 for one adapter alone is not ejected: it may be the adapter; for two it is',
    `>> up gpu-0 holds=m@1,m@2
     >> up gpu-1
     ${[1, 2, 3, 4, 5, 6].map((id) => `>> arrived ${id} m@1\n<< dispatch ${id} gpu-0 resident\n>> ended ${id} erred`).join('\n')}
     >> arrived 7 m@2
     << dispatch 7 gpu-0 resident
     >> ended 7 erred
     << standing gpu-0 ejected 30000`,
  );

  promise(
    'is not ejected while it is the last, and takes requests again when it becomes so',
    `>> up gpu-0 startedAt=1
     ${inARow(10, times(9, 'failed'))}
     >> up gpu-1 startedAt=1
     >> arrived 20 base
     << dispatch 20 gpu-0 base
     >> ended 20 failed
     << standing gpu-0 ejected 30000
     >> down gpu-1
     << standing gpu-0 whole`,
  );

  promise(
    'is not ejected while no other serves one of its bases, or takes the ranks that it takes',
    `>> up gpu-0 bases=base,other
     >> up gpu-1
     ${inARow(10, times(9, 'failed'))}
     >> down gpu-1
     >> up gpu-2 rankMax=8 bases=base,other
     ${inARow(30, times(9, 'failed'))}`,
  );

  promise(
    'begins anew as another process; the same one comes back as it went',
    `${TWO}
     ${inARow(10, times(5, 'failed'))}
     << standing gpu-0 ejected 30000
     >> down gpu-0
     >> up gpu-0 startedAt=1
     >> arrived 20 base
     << dispatch 20 gpu-1 base
     >> down gpu-0
     >> up gpu-0 startedAt=2
     << standing gpu-0 whole
     >> arrived 21 base
     << dispatch 21 gpu-0 base`,
  );

  promise(
    'has its adapters loaded elsewhere for those who wait, even one that it was loading',
    `>> up gpu-0 holds=m@9
     >> arrived 1 m@1
     << load gpu-0 m@1 room
     >> up gpu-1
     ${[2, 3, 4, 5, 6].map((id) => `>> arrived ${id} m@9\n<< dispatch ${id} gpu-0 resident\n>> ended ${id} failed`).join('\n')}
     << standing gpu-0 ejected 30000
     << load gpu-1 m@1 room
     >> loaded gpu-0 m@1
     >> loaded gpu-1 m@1
     << dispatch 1 gpu-1 room`,
  );
});

describe('a second attempt', () => {
  promise(
    'is made where another holder is, and that one is preferred for a second',
    `>> up gpu-0 holds=m@1
     >> up gpu-1 holds=m@1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> ended 1 busy
     << dispatch 1 gpu-1 resident
     >> arrived 2 m@1
     << dispatch 2 gpu-1 resident
     @ 1000
     >> arrived 3 m@1
     << dispatch 3 gpu-0 resident`,
  );

  promise(
    'is not made for more than a fifth of the requests at once, and three at least',
    `>> up gpu-0
     >> up gpu-1
     ${[1, 3, 5, 7].map((id) => `>> arrived ${id} base\n<< dispatch ${id} gpu-0 base\n>> arrived ${id + 1} base\n<< dispatch ${id + 1} gpu-1 base`).join('\n')}
     >> down gpu-0
     >> ended 1 refused
     << dispatch 1 gpu-1 base
     >> ended 3 refused
     << dispatch 3 gpu-1 base
     >> ended 5 refused
     << dispatch 5 gpu-1 base
     >> ended 7 refused
     << reject 7 backend_unavailable
     >> ended 1
     >> arrived 9 base
     << dispatch 9 gpu-1 base
     >> ended 9 refused
     << dispatch 9 gpu-1 base`,
  );
});

describe('an adapter that an engine dies of', () => {
  promise(
    'while it loads is loaded nowhere else, and who waits is told; another one is not concerned',
    `>> up gpu-0 startedAt=1
     >> arrived 1 m@6
     << load gpu-0 m@6 room
     >> up gpu-1 startedAt=1
     >> down gpu-0 died
     << quarantine m@6 kept
     << reject 1 checkpoint_not_servable
     >> arrived 2 m@6
     << reject 2 checkpoint_not_servable
     >> arrived 3 m@7
     << load gpu-1 m@7 room
     >> published m@6`,
  );

  promise(
    'is known by the next process, where nothing was known of the death before',
    `>> up gpu-0 startedAt=1
     >> up gpu-1 startedAt=1
     >> arrived 1 m@6
     << load gpu-0 m@6 room
     >> down gpu-0
     << load gpu-1 m@6 room
     >> up gpu-0 startedAt=2
     << quarantine m@6 kept
     << reject 1 checkpoint_not_servable
     >> loaded gpu-1 m@6
     << unload gpu-1 m@6 quarantine`,
  );

  promise(
    'with its first request is under quarantine too; one that has answered, or has run for 10 s, is not',
    `>> up gpu-0 holds=m@1,m@2,m@3 slots=3 startedAt=1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> ended 1
     >> arrived 2 m@2
     << dispatch 2 gpu-0 resident
     @ 10000
     >> arrived 3 m@1
     << dispatch 3 gpu-0 resident
     >> arrived 4 m@3
     << dispatch 4 gpu-0 resident
     >> down gpu-0 died
     << quarantine m@3 kept`,
  );

  promise(
    'is not to blame when its request was never sent, or when the engine was only out of reach',
    `>> up gpu-0 holds=m@1 startedAt=1
     >> up gpu-1 startedAt=1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> down gpu-0
     >> ended 1 refused
     << load gpu-1 m@1 room
     >> down gpu-0 died
     >> arrived 2 m@2
     << load gpu-1 m@2 room
     >> down gpu-1
     << reject 1 backend_unavailable
     << reject 2 backend_unavailable
     >> up gpu-1 startedAt=1
     >> arrived 3 m@2
     << load gpu-1 m@2 room`,
  );

  promise(
    'is not to blame when another engine takes the place of the one that was loading it',
    `>> up gpu-0 startedAt=1
     >> arrived 1 m@1
     << load gpu-0 m@1 room
     >> up gpu-0 startedAt=2
     << load gpu-0 m@1 room`,
  );

  promise(
    'is tried on one engine after 10 min, twice that when another one dies of it, and is free when it answers',
    `>> up gpu-0 startedAt=1
     >> arrived 1 m@6
     << load gpu-0 m@6 room
     >> down gpu-0 died
     << quarantine m@6 kept
     << reject 1 checkpoint_not_servable
     >> up gpu-0 startedAt=2
     @ 599999
     >> arrived 2 m@6
     << reject 2 checkpoint_not_servable
     @ 600000
     << quarantine m@6 trial
     >> arrived 3 m@6
     << load gpu-0 m@6 room
     >> down gpu-0 died
     << quarantine m@6 kept
     << reject 3 checkpoint_not_servable
     >> up gpu-0 startedAt=3
     @ 1800000
     << quarantine m@6 trial
     >> arrived 4 m@6
     << load gpu-0 m@6 room
     >> loaded gpu-0 m@6
     << dispatch 4 gpu-0 room
     >> ended 4
     << quarantine m@6 over`,
  );

  promise(
    'and another that was there too are both suspects, and come back one at a time when somebody says so',
    `>> up gpu-0 startedAt=1
     >> arrived 1 m@6
     << load gpu-0 m@6 room
     >> arrived 2 m@7
     << load gpu-0 m@7 room
     >> down gpu-0 died
     << quarantine m@6 kept
     << quarantine m@7 kept
     << reject 1 checkpoint_not_servable
     << reject 2 checkpoint_not_servable
     >> up gpu-0 startedAt=2
     >> up gpu-1 startedAt=1
     >> retry m@6
     << quarantine m@6 trial
     >> retry m@7
     << quarantine m@7 trial
     >> arrived 3 m@7
     << load gpu-0 m@7 room
     >> arrived 4 m@6
     << reject 4 checkpoint_not_servable
     >> loaded gpu-0 m@7
     << dispatch 3 gpu-0 room
     >> ended 3
     << quarantine m@7 over
     >> arrived 5 m@6
     << load gpu-0 m@6 room`,
  );
});
