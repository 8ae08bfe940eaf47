// Engines that cannot do everything: services that know checkpoints by their names, kinds that lack a route, engines that list nothing.
import { describe, expect, test } from 'vitest';
import { replay, trim } from './transcript.ts';

const promise = (name: string, text: string) => test(name, () => expect(replay(text)).toBe(trim(text)));

describe('a service that finds checkpoints by their names', () => {
  promise(
    'is given what has no files, and no engine that loads files is',
    `>> up gpu-0 slots=4
     >> up service slots=1000 models=m
     >> arrived 1 m@80 hosted=yes
     << load service m@80 room
     >> loaded service m@80
     << dispatch 1 service room`,
  );

  promise(
    'is given its own models alone, of whatever rank',
    `>> up service slots=1000 models=m rankMax=8
     >> arrived 1 m@5 rank=64
     << load service m@5 room
     >> arrived 2 other@5
     << reject 2 checkpoint_not_servable`,
  );

  promise(
    'is asked for a name that it does not know once in a while, and who asks for that is told so',
    `>> up service slots=1000 models=m holds=m@5
     >> arrived 1 m@5
     << dispatch 1 service resident
     >> arrived 2 m@5
     << dispatch 2 service resident
     >> ended 1 missing gone=it_has_no_model
     << reject 1 checkpoint_not_servable
     >> arrived 3 m@5
     << reject 3 checkpoint_not_servable
     >> ended 2 missing gone=it_has_no_model
     << reject 2 checkpoint_not_servable
     @ 30001
     >> arrived 4 m@5
     << load service m@5 room
     >> loaded service m@5
     << dispatch 4 service room`,
  );

  promise(
    'sends who asked for a name that it does not know on, to the next that could serve it',
    `>> up first slots=1000 models=m holds=m@5
     >> up gpu-0 slots=1
     >> arrived 1 m@5
     << dispatch 1 first resident
     >> ended 1 missing gone=it_has_no_model
     << load gpu-0 m@5 room
     >> loaded gpu-0 m@5
     << dispatch 1 gpu-0 room`,
  );

  promise(
    'that is missing is not replaced by an engine that serves the base',
    `>> up gpu-0 slots=4
     >> arrived 1 m@80 hosted=yes
     << reject 1 backend_unavailable`,
  );
});

describe('an engine beside a service', () => {
  promise(
    'is not ejected: the service could not take what it serves',
    `>> up gpu-0 slots=4 holds=other@1
     >> up service slots=1000 models=m
     ${[1, 2, 3, 4, 5, 6].map((id) => `>> arrived ${id} other@1\n<< dispatch ${id} gpu-0 resident\n>> ended ${id} failed`).join('\n')}`,
  );

  promise(
    'does not stand in for it: the service is not ejected either',
    `>> up gpu-0 slots=4
     >> up service slots=1000 models=m holds=m@80
     ${[1, 2, 3, 4, 5, 6].map((id) => `>> arrived ${id} m@80 hosted=yes\n<< dispatch ${id} service resident\n>> ended ${id} failed`).join('\n')}`,
  );

  promise(
    'keeps the slots that are reserved: a service has none',
    `>> up gpu-0 slots=2
     >> up service slots=1000 models=m
     >> reserved r adapter m@5 slots=1
     << load gpu-0 m@5 reserved`,
  );
});

describe('the newest checkpoint of a model that both serve', () => {
  promise(
    'is warm when an engine has loaded it: of a service nobody knows whether it has it',
    `>> up a-service slots=1000 models=m
     >> up gpu-0 slots=1
     >> published m@1
     << load gpu-0 m@1 publish
     >> arrived 1 m@1
     >> loaded gpu-0 m@1
     << dispatch 1 gpu-0 publish
     << promote m id-m@1`,
  );

  promise(
    'has an engine load it, though it is asked of the service already',
    `>> up a-service slots=1000 models=m holds=m@1
     >> up gpu-0 slots=1
     >> published m@1
     << load gpu-0 m@1 publish
     >> loaded gpu-0 m@1
     << promote m id-m@1`,
  );

  promise(
    'is left to the service where no engine can load it, or where it has no files',
    `>> up a-service slots=1000 models=m,n
     >> up gpu-0 slots=1
     >> published m@1
     << load gpu-0 m@1 publish
     >> loadFailed gpu-0 m@1 adapter rank
     << load a-service m@1 publish
     >> loaded a-service m@1
     << promote m id-m@1
     >> published n@1 hosted=yes
     << load a-service n@1 publish
     >> loaded a-service n@1
     << promote n id-n@1`,
  );
});

describe('a route that an engine lacks', () => {
  promise(
    'is never asked of it, though it alone holds the adapter: another one loads it beside',
    `>> up gpu-0 slots=1 holds=m@1
     >> up lite slots=4 holds=m@5 routes=/chat
     >> arrived 1 m@5 route=/tokenize
     << unload gpu-0 m@1 evict
     >> unloaded gpu-0 m@1
     << load gpu-0 m@5 evict
     >> loaded gpu-0 m@5
     << dispatch 1 gpu-0 evict`,
  );

  promise(
    'holds up nobody who wants another: who comes later runs at once where that route is',
    `>> up gpu-0 slots=1 holds=m@1
     >> up lite slots=4 holds=m@5 routes=/chat
     >> arrived 1 m@1 route=/chat
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@5 route=/tokenize
     >> arrived 3 m@5 route=/chat
     << dispatch 3 lite resident
     >> ended 3
     >> ended 1
     << unload gpu-0 m@1 evict
     >> unloaded gpu-0 m@1
     << load gpu-0 m@5 evict
     >> loaded gpu-0 m@5
     << dispatch 2 gpu-0 evict`,
  );

  promise(
    'costs one other adapter its slot, whatever happens until that is free and however many ask',
    `>> up gpu-0 slots=2 holds=m@1,m@2
     >> up lite slots=4 holds=m@5,m@6 routes=/chat
     >> arrived 1 m@5 route=/tokenize
     << unload gpu-0 m@1 evict
     >> arrived 2 m@5 route=/tokenize
     >> arrived 3 m@6 route=/chat
     << dispatch 3 lite resident
     >> ended 3
     >> arrived 4 m@7
     << load lite m@7 room
     >> loaded lite m@7
     << dispatch 4 lite room
     >> unloaded gpu-0 m@1
     << load gpu-0 m@5 evict
     >> loaded gpu-0 m@5
     << dispatch 1 gpu-0 evict
     << dispatch 2 gpu-0 evict`,
  );

  promise(
    'is found again when the one that had it goes, though another one holds the adapter still',
    `>> up gpu-0 slots=1 runningMax=1 holds=m@5
     >> up gpu-1 slots=1
     >> up lite slots=1 holds=m@5 routes=/chat
     >> arrived 1 m@5 route=/tokenize
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@5 route=/tokenize
     >> down gpu-0
     << load gpu-1 m@5 room
     >> loaded gpu-1 m@5
     << dispatch 2 gpu-1 room`,
  );

  promise(
    'is not asked of it when room comes free there either',
    `>> up gpu-0 slots=1 runningMax=1 holds=m@5
     >> up lite slots=1 runningMax=1 holds=m@5 routes=/chat
     >> arrived 1 m@5 route=/chat
     << dispatch 1 gpu-0 resident
     >> arrived 2 m@5 route=/chat
     << dispatch 2 lite resident
     >> arrived 3 m@5 route=/tokenize
     >> arrived 4 m@5 route=/chat
     >> ended 2
     << dispatch 4 lite resident
     >> ended 1
     << dispatch 3 gpu-0 resident`,
  );

  promise(
    'is refused where nobody who could serve the model has it',
    `>> up lite slots=4 routes=/chat
     >> arrived 1 m@5 route=/tokenize
     << reject 1 route_not_served
     >> arrived 2 base route=/tokenize
     << reject 2 route_not_served
     >> arrived 3 base route=/chat
     << dispatch 3 lite base`,
  );

  promise(
    'of an adapter that cannot be loaded where it is: told why at once, though others hold the adapter',
    `>> up gpu-0 slots=1
     >> up lite slots=4 holds=m@5 routes=/chat
     >> arrived 1 m@5 route=/tokenize
     << load gpu-0 m@5 room
     >> arrived 2 m@5 route=/tokenize
     >> loadFailed gpu-0 m@5 adapter rank
     << reject 1 checkpoint_not_servable
     << reject 2 checkpoint_not_servable
     >> arrived 3 m@5 route=/tokenize
     << reject 3 checkpoint_not_servable
     >> arrived 4 m@5 route=/chat
     << dispatch 4 lite resident`,
  );

  promise(
    'of the last that had it: who waits is told when it goes down, and who comes then that it is down',
    `>> up gpu-0 slots=1 runningMax=1 holds=m@5
     >> up lite slots=4 runningMax=1 holds=m@5 routes=/chat
     >> arrived 1 m@5 route=/tokenize
     << dispatch 1 gpu-0 resident
     >> arrived 2 base route=/chat
     << dispatch 2 lite base
     >> arrived 3 m@5 route=/tokenize
     >> arrived 4 m@5 route=/chat
     >> arrived 5 base route=/tokenize
     >> arrived 6 base route=/chat
     >> down gpu-0
     << reject 3 backend_unavailable
     << reject 5 backend_unavailable
     >> arrived 7 m@5 route=/tokenize
     << reject 7 backend_unavailable
     >> ended 2
     << dispatch 4 lite resident`,
  );
});

describe('an engine that lists nothing', () => {
  promise(
    'holds what it was given, whatever it does not say',
    `>> up gpu-0
     >> arrived 1 m@5
     << load gpu-0 m@5 room
     >> loaded gpu-0 m@5
     << dispatch 1 gpu-0 room
     >> ended 1
     @ 100
     >> observed gpu-0 askedAt=50 holds=unknown
     >> arrived 2 m@5
     << dispatch 2 gpu-0 resident`,
  );
});
