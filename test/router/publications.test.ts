// The newest checkpoint: loaded beside the old one, and `latest` moves when nobody who asks for it has to wait for a load.
import { expect, test } from 'vitest';
import type { RouterOptions } from '../../src/router/router.ts';
import { replay, trim } from './transcript.ts';

const promise = (name: string, text: string, options: Partial<RouterOptions> = {}) =>
  test(name, () => {
    expect(replay(text, options)).toBe(trim(text));
  });

/** So many requests on a step, numbered from `first`, as they are placed: in turn on these backends. */
const rollouts = (first: number, count: number, step: string, on: readonly string[]): string =>
  Array.from({ length: count }, (_, index) => {
    const id = first + index;
    return `>> arrived ${id} ${step} class=rollout\n<< dispatch ${id} ${on[index % on.length]} resident`;
  }).join('\n');

const TWO_BUSY = `
     >> up gpu-0 slots=2 holds=m@1
     >> up gpu-1 slots=2 holds=m@1
     >> published m@1
     << promote m id-m@1
     ${rollouts(1, 130, 'm@1', ['gpu-0', 'gpu-1'])}
     >> published m@2
     << load gpu-0 m@2 publish
     << load gpu-1 m@2 publish`;

promise(
  'latest moves when as many backends are warm as its requests need',
  `${TWO_BUSY}
     @ 100
     >> loaded gpu-0 m@2
     @ 200
     >> loaded gpu-1 m@2
     << promote m id-m@2`,
);

promise(
  'one that needs one backend moves with the first',
  `>> up gpu-0 slots=2 holds=m@1
     >> up gpu-1 slots=2 holds=m@1
     >> published m@1
     << promote m id-m@1
     ${rollouts(1, 20, 'm@1', ['gpu-0', 'gpu-1'])}
     >> published m@2
     << load gpu-0 m@2 publish
     >> loaded gpu-0 m@2
     << promote m id-m@2`,
);

promise(
  'no publication is held up for longer than its bound by a load that takes for ever',
  `${TWO_BUSY}
     @ 100
     >> loaded gpu-0 m@2
     @ 2100
     << promote m id-m@2
     >> loaded gpu-1 m@2`,
  { latestWithinMs: 2000 },
);

promise(
  'nor by a load that fails',
  `${TWO_BUSY}
     @ 100
     >> loaded gpu-0 m@2
     >> loadFailed gpu-1 m@2 backend gone
     << promote m id-m@2`,
);

promise(
  'nor by backends without room: what cannot be had is not waited for',
  `>> up gpu-0 slots=2 holds=m@1
     >> up gpu-1 slots=1 holds=m@1
     >> published m@1
     << promote m id-m@1
     ${rollouts(1, 130, 'm@1', ['gpu-0', 'gpu-1'])}
     >> published m@2
     << load gpu-0 m@2 publish
     >> loaded gpu-0 m@2
     << promote m id-m@2`,
);

promise(
  'a slot that comes free goes to the newest checkpoint before those who waited longer',
  `>> up gpu-0 slots=1 holds=m@1
     >> published m@1
     << promote m id-m@1
     >> arrived 1 m@1 class=rollout
     << dispatch 1 gpu-0 resident
     >> arrived 2 x@1
     >> published m@2
     >> ended 1
     << unload gpu-0 m@1 evict
     >> unloaded gpu-0 m@1
     << load gpu-0 m@2 publish
     >> loaded gpu-0 m@2
     << promote m id-m@2`,
);

promise(
  'the newest checkpoint keeps its slot until the first of its callers comes, though others wait and it has served nobody yet',
  `>> up gpu-0 slots=2 holds=m@1
     >> published m@1
     << promote m id-m@1
     >> arrived 1 m@1 class=rollout
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1 class=rollout
     << dispatch 2 gpu-0 resident
     >> published m@2
     << load gpu-0 m@2 publish
     >> arrived 3 x@1 class=rollout
     >> loaded gpu-0 m@2
     << promote m id-m@2
     >> arrived 4 m@2 class=rollout
     << dispatch 4 gpu-0 resident`,
);

promise(
  'the step before it makes room first, once latest has left it',
  `>> up gpu-0 slots=2 holds=m@1
     >> published m@1
     << promote m id-m@1
     ${rollouts(1, 3, 'm@1', ['gpu-0'])}
     >> published m@2
     << load gpu-0 m@2 publish
     >> loaded gpu-0 m@2
     << promote m id-m@2
     >> arrived 4 m@2 class=rollout
     << dispatch 4 gpu-0 resident
     >> ended 4
     >> ended 1
     >> ended 2
     >> ended 3
     >> arrived 5 x@1
     << unload gpu-0 m@1 evict`,
);

promise(
  'requests in flight keep their step, and an explicit step is answered by it after latest has moved',
  `>> up gpu-0 slots=2 holds=m@1,m@2
     >> published m@1
     << promote m id-m@1
     >> arrived 1 m@1 class=rollout
     << dispatch 1 gpu-0 resident
     >> published m@2
     << promote m id-m@2
     >> arrived 2 m@1
     << dispatch 2 gpu-0 resident
     >> ended 1`,
);

promise(
  'one that is retired before it is warm never becomes latest',
  `>> up gpu-0 slots=2 holds=m@1
     >> published m@1
     << promote m id-m@1
     >> published m@2
     << load gpu-0 m@2 publish
     >> retired m@2
     >> loaded gpu-0 m@2
     << unload gpu-0 m@2 retired`,
);
