// The router's promises of fairness, as transcripts: `>>` what happened, `<<` what it asked for.
import { describe, expect, test } from 'vitest';
import type { RouterOptions } from '../../src/router/router.ts';
import { replay, trim } from './transcript.ts';

const promise = (name: string, text: string, options: Partial<RouterOptions> = {}) =>
  test(name, () => expect(replay(text, options)).toBe(trim(text)));

describe('no adapter starves', () => {
  promise(
    'who has waited its bound gets a slot drained: requests that came later queue behind, running ones end in peace',
    `>> up gpu-0 slots=1 holds=m@1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@2
     @ 900
     >> arrived 3 m@1
     << dispatch 3 gpu-0 resident
     >> ended 1
     @ 1000
     @ 1100
     >> arrived 4 m@1
     @ 1200
     >> ended 3
     << unload gpu-0 m@1 drain
     >> unloaded gpu-0 m@1
     << load gpu-0 m@2 drain
     >> loaded gpu-0 m@2
     << dispatch 2 gpu-0 drain
     @ 1300
     >> ended 2
     << unload gpu-0 m@2 evict
     >> unloaded gpu-0 m@2
     << load gpu-0 m@1 evict
     >> loaded gpu-0 m@1
     << dispatch 4 gpu-0 evict`,
  );

  promise(
    'an endless stream on the drained adapter makes a second one drain, and the first serves again when its slot is not needed',
    `>> up gpu-0 slots=2 holds=m@1,m@2
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@2
     << dispatch 2 gpu-0 resident
     >> arrived 3 m@3
     @ 1000
     @ 2000
     >> ended 2
     << unload gpu-0 m@2 drain
     >> unloaded gpu-0 m@2
     << load gpu-0 m@3 drain
     >> arrived 4 m@1
     << dispatch 4 gpu-0 resident
     >> loaded gpu-0 m@3
     << dispatch 3 gpu-0 drain`,
  );

  promise(
    'who is so old by the turn of its tenant that two slots are owed to it has both drained as it comes',
    `>> up gpu-0 slots=4 holds=m@1,m@2,m@3,m@4
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@2
     << dispatch 2 gpu-0 resident
     >> arrived 3 m@3
     << dispatch 3 gpu-0 resident
     >> arrived 4 m@4
     << dispatch 4 gpu-0 resident
     >> arrived 5 m@5 tenant=a
     @ 2000
     >> arrived 6 m@6 tenant=b
     >> ended 3
     << unload gpu-0 m@3 drain
     >> ended 4
     << unload gpu-0 m@4 drain
     >> ended 1
     << unload gpu-0 m@1 drain
     >> ended 2
     << unload gpu-0 m@2 drain`,
  );

  promise(
    'lines are served in the order in which they formed',
    `>> up gpu-0 slots=1 holds=m@1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@2
     >> arrived 3 m@3
     >> arrived 4 m@2
     >> ended 1
     << unload gpu-0 m@1 evict
     >> unloaded gpu-0 m@1
     << load gpu-0 m@2 evict
     >> loaded gpu-0 m@2
     << dispatch 2 gpu-0 evict
     << dispatch 4 gpu-0 evict`,
  );

  promise(
    'who cannot be served within its bound is told so',
    `>> up gpu-0 slots=1 holds=m@1
     >> arrived 2 m@1
     << dispatch 2 gpu-0 resident
     >> arrived 1 m@2
     @ 1000
     @ 10000
     << reject 1 no_capacity`,
  );

  promise(
    'a full queue refuses at once',
    `>> up gpu-0
     >> arrived 1 m@1
     << load gpu-0 m@1 room
     >> arrived 2 m@1
     << reject 2 no_capacity`,
    { queueMax: 1 },
  );

  promise(
    'a full line refuses who comes for the same; the rest of the queue is for others',
    `>> up gpu-0 slots=1
     >> arrived 1 m@1
     << load gpu-0 m@1 room
     >> arrived 2 m@1
     >> arrived 3 m@1
     << reject 3 no_capacity
     >> arrived 4 m@2
     >> arrived 5 m@2
     >> arrived 6 m@2
     << reject 6 no_capacity
     >> arrived 7 m@3
     << reject 7 no_capacity`,
    { queueMax: 4, queuePerCheckpointMax: 2 },
  );
});

describe('classes', () => {
  promise(
    'the more urgent line gets the slot that comes free, though another one formed earlier',
    `>> up gpu-0 slots=1 holds=m@1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@2 class=eval
     >> arrived 3 m@3 class=rollout
     >> arrived 4 m@4 class=interactive
     >> ended 1
     << unload gpu-0 m@1 evict
     >> unloaded gpu-0 m@1
     << load gpu-0 m@4 evict`,
  );

  promise(
    'a line is as urgent as the most urgent request in it, and that one is first',
    `>> up gpu-0 slots=1 holds=m@1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@2 class=eval
     >> arrived 3 m@3 class=rollout
     >> arrived 4 m@2 class=interactive
     >> ended 1
     << unload gpu-0 m@1 evict
     >> unloaded gpu-0 m@1
     << load gpu-0 m@2 evict
     >> loaded gpu-0 m@2
     << dispatch 4 gpu-0 evict
     << dispatch 2 gpu-0 evict`,
  );

  promise(
    'a line that has waited the bound of its class comes before all that are more urgent: an evaluation is never starved',
    `>> up gpu-0 slots=1 holds=m@1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@2 class=eval
     @ 5900
     >> arrived 3 m@1
     << dispatch 3 gpu-0 resident
     >> ended 1
     @ 6000
     >> arrived 4 m@4 class=interactive
     >> ended 3
     << unload gpu-0 m@1 drain
     >> unloaded gpu-0 m@1
     << load gpu-0 m@2 drain`,
  );
});

describe('replicas', () => {
  promise(
    'an adapter that is far busier than another backend is loaded there too; who showed the need does not wait for it',
    `>> up gpu-0 holds=m@1
     >> up gpu-1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1
     << dispatch 2 gpu-0 resident
     >> arrived 3 m@1
     << dispatch 3 gpu-0 resident
     << load gpu-1 m@1 replica
     >> arrived 4 m@1
     << dispatch 4 gpu-0 resident
     >> loaded gpu-1 m@1
     >> arrived 5 m@1
     << dispatch 5 gpu-1 resident`,
    { replicateAbove: 2 },
  );

  promise(
    'a replica takes no slot that is in use',
    `>> up gpu-0 holds=m@1
     >> up gpu-1 slots=1 holds=m@2
     >> arrived 1 m@2
     << dispatch 1 gpu-1 resident
     >> arrived 2 m@1
     << dispatch 2 gpu-0 resident
     >> arrived 3 m@1
     << dispatch 3 gpu-0 resident
     >> arrived 4 m@1
     << dispatch 4 gpu-0 resident`,
    { replicateAbove: 1 },
  );
});

describe('slow loads', () => {
  promise(
    'an adapter whose load took long serves four times as long before it is drained for another',
    `>> up gpu-0 slots=1
     >> arrived 1 m@1
     << load gpu-0 m@1 room
     @ 4000
     >> loaded gpu-0 m@1
     << dispatch 1 gpu-0 room
     >> arrived 2 m@2
     @ 19000
     >> arrived 3 m@1
     << dispatch 3 gpu-0 resident
     >> ended 1
     @ 21000
     >> arrived 4 m@1
     >> ended 3
     << unload gpu-0 m@1 drain`,
    { waitMsMax: 60_000 },
  );
});

describe('room on an engine', () => {
  promise(
    'what an engine cannot run at once waits here: an interactive request passes the evaluations that wait for the same adapter',
    `>> up gpu-0 holds=m@1 runningMax=1
     >> arrived 1 m@1 class=eval
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1 class=eval
     >> arrived 3 m@1 class=eval
     >> arrived 4 m@1
     >> ended 1
     << dispatch 4 gpu-0 resident
     >> ended 4
     << dispatch 2 gpu-0 resident
     >> cancelled 3
     >> ended 2`,
  );

  promise(
    'and those that wait for another adapter, or for the base, on the same engine',
    `>> up gpu-0 holds=m@1,m@2 runningMax=1
     >> arrived 1 m@1 class=eval
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1 class=eval
     >> arrived 3 base class=rollout
     >> arrived 4 m@2
     >> ended 1
     << dispatch 4 gpu-0 resident
     >> ended 4
     << dispatch 3 gpu-0 base
     >> ended 3
     << dispatch 2 gpu-0 resident`,
  );

  promise(
    'less urgent classes leave some room to the more urgent',
    `>> up gpu-0 holds=m@1 runningMax=3
     >> arrived 1 m@1 class=eval
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1 class=eval
     << dispatch 2 gpu-0 resident
     >> arrived 3 m@1 class=eval
     >> arrived 4 m@1
     << dispatch 4 gpu-0 resident
     >> ended 4
     >> ended 2
     << dispatch 3 gpu-0 resident`,
  );

  promise(
    'an evaluation that has waited its bound gets every second room: neither starves the other',
    `>> up gpu-0 holds=m@1 runningMax=1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1 class=eval
     >> arrived 3 m@1 class=eval
     @ 6000
     >> arrived 4 m@1
     >> arrived 5 m@1
     >> ended 1
     << dispatch 4 gpu-0 resident
     >> ended 4
     << dispatch 2 gpu-0 resident
     >> ended 2
     << dispatch 5 gpu-0 resident
     >> ended 5
     << dispatch 3 gpu-0 resident`,
  );

  promise(
    'who waits for room goes to the engine that has some, and a loaded adapter is given no more than there is',
    `>> up gpu-0 runningMax=2
     >> arrived 1 m@1
     << load gpu-0 m@1 room
     >> arrived 2 m@1
     >> arrived 3 m@1
     >> loaded gpu-0 m@1
     << dispatch 1 gpu-0 room
     << dispatch 2 gpu-0 room
     >> ended 2
     << dispatch 3 gpu-0 resident`,
  );

  promise(
    'a request that was sent back waits for room as well, as old as it is',
    `>> up gpu-0 holds=m@1 runningMax=2
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1
     << dispatch 2 gpu-0 resident
     @ 10
     >> arrived 3 m@1
     >> ended 1 refused
     << dispatch 1 gpu-0 resident
     >> ended 2
     << dispatch 3 gpu-0 resident`,
  );

  promise(
    'the limit is learned: an engine that queues is given less, one that does not is given more',
    `>> up gpu-0 holds=m@1 slots=1
     ${Array.from({ length: 256 }, (_, at) => `>> arrived ${at} m@1\n<< dispatch ${at} gpu-0 resident`).join('\n')}
     >> arrived 900 m@1
     >> observed gpu-0 askedAt=0 slots=1 holds=m@1 running=250 waiting=6
     >> observed gpu-0 askedAt=0 slots=1 holds=m@1 running=256 waiting=0
     << dispatch 900 gpu-0 resident`,
  );

  promise(
    'an adapter is not drained while requests that fell due earlier wait for room on it',
    `>> up gpu-0 slots=1 holds=m@1 runningMax=1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1
     @ 10
     >> arrived 3 m@2
     @ 1500
     >> ended 1
     << dispatch 2 gpu-0 resident
     >> arrived 4 m@1
     @ 2600
     >> ended 2
     << unload gpu-0 m@1 drain`,
  );
});

describe('tenants', () => {
  promise(
    'one that asks for much delays another by one turn: in one line',
    `>> up gpu-0 holds=m@1 runningMax=1
     >> arrived 1 m@1 tenant=a
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1 tenant=a
     >> arrived 3 m@1 tenant=a
     >> arrived 4 m@1 tenant=a
     >> arrived 5 m@1 tenant=b
     >> ended 1
     << dispatch 2 gpu-0 resident
     >> ended 2
     << dispatch 5 gpu-0 resident
     >> ended 5
     << dispatch 3 gpu-0 resident`,
  );

  promise(
    'among lines for slots',
    `>> up gpu-0 slots=1 holds=m@1
     >> arrived 1 m@1 tenant=a
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@2 tenant=a
     >> arrived 3 m@3 tenant=a
     >> arrived 4 m@4 tenant=a
     @ 10
     >> arrived 5 m@5 tenant=b
     >> ended 1
     << unload gpu-0 m@1 evict
     >> unloaded gpu-0 m@1
     << load gpu-0 m@2 evict
     >> loaded gpu-0 m@2
     << dispatch 2 gpu-0 evict
     >> ended 2
     << unload gpu-0 m@2 evict
     >> unloaded gpu-0 m@2
     << load gpu-0 m@5 evict`,
  );

  promise(
    'and among the adapters that one engine is ready for',
    `>> up gpu-0 holds=m@1,m@2 runningMax=1
     >> arrived 1 m@1 tenant=a
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1 tenant=a
     >> arrived 3 m@1 tenant=a
     @ 10
     >> arrived 4 m@2 tenant=b
     >> arrived 5 m@2 tenant=b
     >> ended 1
     << dispatch 2 gpu-0 resident
     >> ended 2
     << dispatch 4 gpu-0 resident
     >> ended 4
     << dispatch 3 gpu-0 resident
     >> ended 3
     << dispatch 5 gpu-0 resident`,
  );
});
