// A cordoned backend: nothing new goes there, what runs there ends, what it holds waits to serve again. And backends that leave for good, are
// replaced, or are judged by other options. Transcripts, as in router.test.ts; the laws for all histories are in laws.ts.
import { expect, test } from 'vitest';
import { replay, trim } from './transcript.ts';

const holds = (text: string) => expect(replay(trim(text))).toBe(trim(text));

test('what runs on a cordoned backend ends there; the next request for the same adapter has it loaded elsewhere', () =>
  holds(`>> up gpu-0 slots=2 holds=m@5
    >> up gpu-1 slots=2
    >> arrived 1 m@5
    << dispatch 1 gpu-0 resident
    >> cordoned gpu-0
    >> arrived 2 m@5
    << load gpu-1 m@5 room
    >> ended 1
    >> loaded gpu-1 m@5
    << dispatch 2 gpu-1 room`));

test('who waits for room on it goes elsewhere, and what loads there is not waited for', () =>
  holds(`>> up gpu-0 slots=2 runningMax=1 holds=m@5
    >> up gpu-1 slots=2
    >> arrived 1 m@5
    << dispatch 1 gpu-0 resident
    >> arrived 2 m@5
    >> arrived 3 m@6
    << load gpu-1 m@6 room
    >> cordoned gpu-1
    << load gpu-0 m@6 room
    >> loaded gpu-1 m@6
    >> up gpu-2 slots=2
    >> uncordoned gpu-1
    << dispatch 3 gpu-1 resident
    >> cordoned gpu-0
    << load gpu-2 m@5 room`));

test('a slot that was being emptied for somebody is not waited for once its backend is cordoned', () =>
  holds(`>> up gpu-0 slots=1 holds=m@1
    >> arrived 1 m@1
    << dispatch 1 gpu-0 resident
    >> arrived 2 m@2
    >> up gpu-1 slots=1 holds=m@3
    << unload gpu-1 m@3 evict
    >> cordoned gpu-1
    >> ended 1
    << unload gpu-0 m@1 evict
    >> unloaded gpu-1 m@3
    >> unloaded gpu-0 m@1
    << load gpu-0 m@2 evict`));

test('what it holds is neither unloaded nor forgotten, and serves again as soon as it is uncordoned', () =>
  holds(`>> up gpu-0 slots=2 holds=m@5
    >> arrived 1 m@5
    << dispatch 1 gpu-0 resident
    >> cordoned gpu-0
    >> ended 1
    >> arrived 2 m@5
    >> uncordoned gpu-0
    << dispatch 2 gpu-0 resident`));

test('where it is the last for its base, requests wait for it, as long as anybody may', () =>
  holds(`>> up gpu-0 slots=2
    >> cordoned gpu-0
    >> arrived 1 m@5
    >> arrived 2 base
    @ 9999
    >> uncordoned gpu-0
    << dispatch 2 gpu-0 base
    << load gpu-0 m@5 room
    >> cordoned gpu-0
    >> arrived 3 base
    @ 10000
    << reject 1 no_capacity
    @ 19999
    << reject 3 no_capacity`));

test('it may be cordoned before it comes up, and stays so when it goes down and comes back', () =>
  holds(`>> cordoned gpu-0
    >> up gpu-0 holds=m@5
    >> up gpu-1
    >> arrived 1 m@5
    << load gpu-1 m@5 room
    >> down gpu-0
    >> up gpu-0 holds=m@6
    >> arrived 2 m@6
    << load gpu-1 m@6 room`));

test('the newest checkpoint is warm elsewhere when it is published again after its only backend was cordoned', () =>
  holds(`>> up gpu-0
    >> published m@5
    << load gpu-0 m@5 publish
    >> loaded gpu-0 m@5
    << promote m id-m@5
    >> cordoned gpu-0
    >> up gpu-1
    >> published m@5
    << load gpu-1 m@5 publish
    >> loaded gpu-1 m@5
    << promote m id-m@5`));

test('a backend that is gone is not asked again; what runs there ends, and counts for nobody that comes under its name', () =>
  holds(`>> up gpu-0 slots=1 runningMax=1 holds=m@5
    >> up gpu-1 slots=1
    >> arrived 1 m@5
    << dispatch 1 gpu-0 resident
    >> gone gpu-0
    >> arrived 2 m@5
    << load gpu-1 m@5 room
    >> up gpu-0 slots=1 runningMax=1 holds=m@5
    << dispatch 2 gpu-0 resident
    >> ended 1
    >> arrived 3 m@5
    >> ended 2
    << dispatch 3 gpu-0 resident`));

test('of a process that is taken out and in again what runs there counts: nothing is unloaded under it', () =>
  holds(`>> up gpu-0 slots=1 startedAt=7 holds=m@5
    >> arrived 1 m@5
    << dispatch 1 gpu-0 resident
    >> gone gpu-0
    >> up gpu-0 slots=1 startedAt=7 holds=m@5
    >> arrived 2 m@6
    >> ended 1
    << unload gpu-0 m@5 evict`));

test('what is loaded again where requests on it were placed before the restart was known is not unloaded under them', () =>
  holds(`>> up gpu-0 slots=1 startedAt=1 holds=m@5
    >> arrived 1 m@5
    << dispatch 1 gpu-0 resident
    >> up gpu-0 slots=1 startedAt=2
    >> arrived 2 m@5
    << load gpu-0 m@5 room
    >> loaded gpu-0 m@5
    << dispatch 2 gpu-0 room
    >> arrived 3 m@6
    >> ended 2
    >> ended 1
    << unload gpu-0 m@5 evict`));

test('another engine in the place of one that is up is asked for what the first could not load', () =>
  holds(`>> up gpu-1 slots=1
    >> arrived 1 m@0
    << load gpu-1 m@0 room
    >> arrived 2 m@1
    >> up gpu-0 slots=1
    << load gpu-0 m@1 room
    >> loadFailed gpu-0 m@1 adapter no
    >> up gpu-0 slots=1
    << load gpu-0 m@1 room`));

test('another engine in the place of one that is up holds what it lists, and nobody who waits is refused in between', () =>
  holds(`>> up gpu-0 slots=1 holds=m@5
    >> arrived 1 m@5
    << dispatch 1 gpu-0 resident
    >> arrived 2 m@6
    >> up gpu-0 slots=1
    << load gpu-0 m@6 room
    >> ended 1`));

test('other options count at once, for those who wait too', () =>
  holds(`>> up gpu-0 slots=1 holds=m@5
    >> arrived 1 m@5
    << dispatch 1 gpu-0 resident
    >> arrived 2 m@6
    >> arrived 3 m@7
    @ 100
    >> configured {"drainAfterMs":{"interactive":200,"rollout":3000,"eval":6000},"waitMsMax":300,"queueMax":2}
    >> arrived 4 m@8
    << reject 4 no_capacity
    @ 200
    >> ended 1
    << unload gpu-0 m@5 drain
    @ 300
    << reject 2 no_capacity
    << reject 3 no_capacity`));
