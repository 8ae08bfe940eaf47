// Which adapter makes room, and when a replica is loaded.
import { describe, expect, test } from 'vitest';
import type { RouterOptions } from '../../src/router/router.ts';
import { replay, trim } from './transcript.ts';

const promise = (name: string, text: string, options: Partial<RouterOptions> = {}) =>
  test(name, () => {
    expect(replay(text, options)).toBe(trim(text));
  });

describe('eviction', () => {
  promise(
    'the idle adapter that was asked for least makes room, though another was used longer ago',
    `>> up gpu-0 slots=2 holds=m@1,m@2
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1
     << dispatch 2 gpu-0 resident
     >> ended 1
     >> ended 2
     @ 10
     >> arrived 3 m@2
     << dispatch 3 gpu-0 resident
     >> ended 3
     >> arrived 4 m@3
     << unload gpu-0 m@2 evict`,
  );
});

describe('replicas', () => {
  promise(
    'the least busy holder decides whether one more is needed, though a session keeps to a busier one',
    `>> up gpu-0 holds=m@1
     >> up gpu-1 holds=m@1
     >> up gpu-2 slots=1
     >> arrived 1 m@1 affinity=1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1 affinity=1
     << dispatch 2 gpu-0 resident
     >> arrived 3 m@1 affinity=1
     << dispatch 3 gpu-0 resident`,
    { replicateAbove: 1 },
  );
});
