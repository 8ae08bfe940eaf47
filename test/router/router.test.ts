// The router's promises, as transcripts: `>>` what happened, `<<` what it asked for.
import { describe, expect, test } from 'vitest';
import type { RouterOptions } from '../../src/router/router.ts';
import { replay, trim } from './transcript.ts';

const promise = (name: string, text: string, options: Partial<RouterOptions> = {}) =>
  test(name, () => expect(replay(text, options)).toBe(trim(text)));

describe('a request whose adapter is resident', () => {
  promise(
    'is dispatched in the same step, to the least loaded holder',
    `>> up gpu-0 holds=m@1
     >> up gpu-1 holds=m@1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1
     << dispatch 2 gpu-1 resident
     >> ended 1
     >> arrived 3 m@1
     << dispatch 3 gpu-0 resident`,
  );

  promise(
    'for a base needs no slot, and goes only where that base is served',
    `>> up gpu-0 bases=llama slots=0
     >> up gpu-1 bases=qwen slots=0
     >> arrived 1 qwen
     << dispatch 1 gpu-1 base
     >> arrived 2 mistral
     << reject 2 backend_unavailable`,
  );
});

describe('a request whose adapter is absent', () => {
  promise(
    'waits for one load, however many wait',
    `>> up gpu-0
     >> arrived 1 m@1
     << load gpu-0 m@1 room
     >> arrived 2 m@1
     >> arrived 3 m@1
     >> loaded gpu-0 m@1
     << dispatch 1 gpu-0 room
     << dispatch 2 gpu-0 room
     << dispatch 3 gpu-0 room`,
  );

  promise(
    'is loaded where there is room, on the least loaded backend',
    `>> up gpu-0 holds=m@1
     >> up gpu-1 holds=m@2
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@3
     << load gpu-1 m@3 room`,
  );

  promise(
    'takes the slot of the idle adapter that was least asked for, and says so',
    `>> up gpu-0 holds=m@1,m@2
     @ 10
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     @ 20
     >> ended 1
     >> arrived 2 m@3
     << unload gpu-0 m@2 evict
     >> unloaded gpu-0 m@2
     << load gpu-0 m@3 evict
     >> loaded gpu-0 m@3
     << dispatch 2 gpu-0 evict`,
  );

  promise(
    'never takes the slot of an adapter with a request in flight: it waits for the first that ends',
    `>> up gpu-0 slots=1 holds=m@1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@2
     @ 500
     >> ended 1
     << unload gpu-0 m@1 evict
     >> unloaded gpu-0 m@1
     << load gpu-0 m@2 evict`,
  );
});

describe("an adapter whose rank is over an engine's limit", () => {
  promise(
    'is loaded only where it fits, and waits for that engine though another one has room',
    `>> up gpu-0 rankMax=16
     >> up gpu-1 rankMax=64 slots=1
     >> arrived 1 m@1 rank=32
     << load gpu-1 m@1 room
     >> loaded gpu-1 m@1
     << dispatch 1 gpu-1 room
     >> arrived 2 m@2 rank=32
     >> arrived 3 m@3 rank=8
     << load gpu-0 m@3 room`,
  );

  promise(
    'is refused at once where it fits nowhere, as a fault of its own',
    `>> up gpu-0 rankMax=16
     >> arrived 1 m@1 rank=32
     << reject 1 checkpoint_not_servable`,
  );
});

describe('a caller that leaves', () => {
  promise(
    'while it waits: nothing is loaded for it',
    `>> up gpu-0 slots=1 holds=m@1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@2
     >> cancelled 2
     >> ended 1
     @ 1000`,
  );

  promise(
    'while a slot is drained for it: the slot serves again, also those who queued meanwhile',
    `>> up gpu-0 slots=1 holds=m@1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@2
     @ 1000
     >> arrived 3 m@1
     >> cancelled 2
     << dispatch 3 gpu-0 resident`,
  );

  promise(
    'while it runs: its lease closes and the slot is free to change',
    `>> up gpu-0 slots=1 holds=m@1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@2
     >> cancelled 1
     << unload gpu-0 m@1 evict
     >> ended 1`,
  );
});

describe('engines that fail', () => {
  promise(
    'an adapter that cannot be loaded: its line is told why, and nobody tries again for a while',
    `>> up gpu-0
     >> arrived 1 m@1
     << load gpu-0 m@1 room
     >> loadFailed gpu-0 m@1 adapter rank too big
     << reject 1 checkpoint_not_servable
     >> arrived 2 m@1
     << reject 2 checkpoint_not_servable
     @ 30000
     >> arrived 3 m@1
     << load gpu-0 m@1 room`,
  );

  promise(
    'one backend cannot load it: another one is tried before anyone is refused',
    `>> up gpu-0
     >> up gpu-1
     >> arrived 1 m@1
     << load gpu-0 m@1 room
     >> loadFailed gpu-0 m@1 backend cannot see the path
     << load gpu-1 m@1 room
     >> loaded gpu-1 m@1
     << dispatch 1 gpu-1 room`,
  );

  promise(
    'an engine that forgot its adapter gets it again, once, and the request is replayed',
    `>> up gpu-0 holds=m@1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1
     << dispatch 2 gpu-0 resident
     >> ended 1 missing
     << load gpu-0 m@1 reload
     >> ended 2 missing
     >> loaded gpu-0 m@1
     << dispatch 1 gpu-0 reload
     << dispatch 2 gpu-0 reload
     >> ended 1 missing
     << load gpu-0 m@1 reload
     << reject 1 backend_error`,
  );

  promise(
    'what cannot be loaded again keeps its slot until the last request that runs on it has ended',
    `>> up gpu-0 slots=1 holds=m@1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@1
     << dispatch 2 gpu-0 resident
     >> ended 1 missing
     << load gpu-0 m@1 reload
     >> loadFailed gpu-0 m@1 adapter another path
     << reject 1 checkpoint_not_servable
     >> arrived 3 m@2
     >> unloaded gpu-0 m@1
     >> ended 2
     << load gpu-0 m@2 room`,
  );

  promise(
    'a refused connection is tried once more, on another backend',
    `>> up gpu-0 holds=m@1
     >> up gpu-1 holds=m@1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> down gpu-0
     >> ended 1 refused
     << dispatch 1 gpu-1 resident
     >> ended 1 refused
     << reject 1 backend_unavailable`,
  );

  promise(
    'an engine that goes down while it loads: the line moves to another one, or is told',
    `>> up gpu-0
     >> arrived 1 m@1
     << load gpu-0 m@1 room
     >> up gpu-1
     >> down gpu-0
     << load gpu-1 m@1 room
     >> loaded gpu-0 m@1
     >> down gpu-1
     << reject 1 backend_unavailable`,
  );

  promise(
    'a restarted engine holds nothing, and an engine found holding adapters keeps them',
    `>> up gpu-0 holds=m@1,m@2
     >> arrived 1 m@2
     << dispatch 1 gpu-0 resident
     >> ended 1
     >> down gpu-0
     >> up gpu-0
     >> arrived 2 m@2
     << load gpu-0 m@2 room`,
  );

  promise(
    'an observation older than the last change says nothing; a newer one is believed',
    `>> up gpu-0
     @ 10
     >> arrived 1 m@1
     << load gpu-0 m@1 room
     @ 30
     >> loaded gpu-0 m@1
     << dispatch 1 gpu-0 room
     >> ended 1
     >> observed gpu-0 askedAt=20 holds=
     >> arrived 2 m@1
     << dispatch 2 gpu-0 resident
     >> ended 2
     @ 50
     >> observed gpu-0 askedAt=40 holds=
     >> arrived 3 m@1
     << load gpu-0 m@1 room`,
  );

  promise(
    'more adapters than slots: the idle ones above the slots are unloaded',
    `>> up gpu-0 slots=2 holds=m@1,m@2,m@3
     << unload gpu-0 m@1 surplus`,
  );

  promise(
    'an unload that failed leaves the adapter serving, and another one makes room',
    `>> up gpu-0 slots=2 holds=m@1,m@2
     @ 10
     >> arrived 1 m@3
     << unload gpu-0 m@1 evict
     @ 20
     >> unloadFailed gpu-0 m@1
     << unload gpu-0 m@2 evict`,
  );
});

describe('the newest checkpoint', () => {
  promise(
    'is loaded before anyone asks, and promoted when it is warm',
    `>> up gpu-0
     >> published m@1
     << load gpu-0 m@1 publish
     >> loaded gpu-0 m@1
     << promote m id-m@1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident`,
  );

  promise(
    'replaces an older one that still waits for a slot',
    `>> up gpu-0 slots=1 holds=x@1
     >> arrived 1 x@1
     << dispatch 1 gpu-0 resident
     >> published m@1
     >> published m@2
     >> ended 1
     << unload gpu-0 x@1 evict
     >> unloaded gpu-0 x@1
     << load gpu-0 m@2 publish
     >> loaded gpu-0 m@2
     << promote m id-m@2`,
  );

  promise(
    'is not promoted when no engine can load it',
    `>> up gpu-0
     >> published m@1
     << load gpu-0 m@1 publish
     >> loadFailed gpu-0 m@1 adapter rank too big
     >> loaded gpu-0 m@1`,
  );

  promise(
    'that is deleted leaves the engines with its last request',
    `>> up gpu-0 holds=m@1,m@2
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> retired m@2
     << unload gpu-0 m@2 retired
     >> retired m@1
     >> ended 1
     << unload gpu-0 m@1 retired`,
  );

  promise(
    'that is deleted while its last request is sent back leaves the next engine too',
    `>> up gpu-0 slots=1 holds=m@1
     >> up gpu-1 slots=1
     >> arrived 1 m@1
     << dispatch 1 gpu-0 resident
     >> observed gpu-0 askedAt=1 slots=1
     << load gpu-0 m@1 reload
     >> retired m@1
     >> loadFailed gpu-0 m@1 adapter no
     >> ended 1 busy
     << load gpu-1 m@1 room
     >> loaded gpu-1 m@1
     << dispatch 1 gpu-1 room
     >> ended 1 done
     << unload gpu-1 m@1 retired`,
  );
});
