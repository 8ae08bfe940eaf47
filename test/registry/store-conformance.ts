// What every Store promises, whatever keeps the rows: an implementation calls this with a way to open one and to open the same one again.
import { describe, expect, test } from 'vitest';
import { as, type BackendName, type Checkpoint, type Digest, type ModelName } from '../../src/domain.ts';
import type {
  Alias,
  AuditEntry,
  BackendRow,
  Build,
  Change,
  CordonRow,
  EngineRow,
  KeyRow,
  Move,
  Pin,
  ReservationRow,
  Sighting,
  Store,
} from '../../src/registry/store.ts';
import { seeded, seeds } from '../random.ts';
import { checkpoint } from './fixtures.ts';

/** `open` gives the store of this place, as it was left; places start empty. */
export interface Place {
  open(): Store;
}

const digest = as<Digest>('d'.repeat(64));
const five = checkpoint('m', 5, {
  adapter: { id: as('m@5'), path: `/store/${digest}`, digest, bytes: 2, rank: 8 },
  details: { metrics: { loss: 0.5, 'eval/loss': -1e-9 }, architecture: 'LlamaForCausalLM', library: 'peft 0.17.1' },
  warnings: ['It says so.'],
});
const dora = checkpoint('m', 6, { adapter: undefined, state: { kind: 'unservable', reasons: ['a', 'b "quoted"'] } });
const exact = checkpoint('org/x@rev', undefined, {
  adapter: undefined,
  hosted: as('org/x@rev, hosted'),
  base: as('base'),
});
const sightingOf = ({ name }: Checkpoint, signature = '1'): Sighting => ({ name, source: '/runs/x', signature });
const added = (one: Checkpoint): Change => ({ kind: 'added', checkpoint: one, sighting: sightingOf(one) });
const champion: Alias = { model: as('m'), alias: 'champion', step: 5, movedAtMs: 10, by: 'me' };
const move: Move = { model: as('m'), alias: 'champion', from: undefined, to: 5, atMs: 10, by: 'me' };
const pin: Pin = {
  id: 'p1',
  model: as('m'),
  from: 5,
  to: 40,
  steps: undefined,
  owner: 'eval',
  createdAtMs: 1,
  untilMs: 99,
};

const reservation: ReservationRow = {
  id: 'r1',
  kind: 'checkpoint',
  name: 'm@champion',
  slots: 1,
  owner: 'eval',
  createdAtMs: 1,
  untilMs: 99,
};

const backend: BackendRow = {
  name: as<BackendName>('gpu-7'),
  settings: { url: 'http://a:1', slots: 2 },
  who: 'ops',
  sinceMs: 2,
};
const engine: EngineRow = {
  name: as<BackendName>('mine'),
  phase: 'serving',
  spec: { argv: ['vllm', 'serve'], port: 8100 },
  process: { pid: 77, born: 'boot 123' },
  about: undefined,
  who: 'ops',
  createdAtMs: 3,
};
const cordon: CordonRow = { backend: as<BackendName>('gpu-0'), who: 'ops', sinceMs: 1 };

const build: Build = {
  deployment: 'support',
  build: 1,
  target: 'm@champion',
  generation: { temperature: 0.2, stop: ['\n\n'], seed: null },
  template: 'Q: {prompt}\nA:',
  chat: true,
  createdAtMs: 1,
  by: 'ops',
  copyOf: undefined,
};

const key: KeyRow = {
  id: 'k1',
  name: 'ci',
  digest: 'a'.repeat(64),
  previous: { digest: 'b'.repeat(64), untilMs: 50 },
  scopes: ['use', 'publish'],
  models: ['m', 'team-*'],
  class: 'eval',
  perMinute: 60,
  concurrentMax: 8,
  createdAtMs: 1,
  untilMs: 99,
  revokedAtMs: 77,
};
const entry: AuditEntry = {
  atMs: 1,
  who: 'k1 (ci)',
  method: 'PUT',
  path: '/admin/v1/x',
  status: 200,
  before: '{"step":1}',
  after: undefined,
};

/** Everything that a store can be asked. */
const contentsOf = (store: Store) => ({
  checkpoints: store.checkpoints(),
  promoted: [...store.promoted()],
  aliases: store.aliases(),
  pins: store.pins(),
  reservations: store.reservations(),
  cordons: store.cordons(),
  backends: store.backends(),
  engines: store.engines(),
  deployments: store.deployments(),
  builds: store.builds('support'),
  keys: store.keys(),
  audit: store.audit({ limit: 100 }),
  history: store.history(as('m'), 100),
  seen: store.seen(five.name, '/runs/x'),
});

export function storeConformance(kind: string, newPlace: () => Place): void {
  describe(`a store of rows (${kind})`, () => {
    const atPlace = (work: (store: Store, reopen: () => Store) => void) => {
      const place = newPlace();
      let store = place.open();
      const reopen = () => {
        store.close();
        store = place.open();
        return store;
      };
      try {
        work(store, reopen);
      } finally {
        store.close();
        store.close();
      }
    };

    test('a new one is empty', () =>
      atPlace((store) =>
        expect(contentsOf(store)).toEqual({
          checkpoints: [],
          promoted: [],
          aliases: [],
          pins: [],
          reservations: [],
          cordons: [],
          backends: [],
          engines: [],
          deployments: [],
          builds: [],
          keys: [],
          audit: [],
          history: [],
          seen: undefined,
        }),
      ));

    test('gives back every revision as it was, in the order of adding, after it was opened again', () =>
      atPlace((store, reopen) => {
        const again = { ...five, id: as<Checkpoint['id']>('again'), revision: 2 };
        store.commit([five, dora, exact, again].map(added));
        store.commit([{ kind: 'deleted', id: exact.id, atMs: 77 }]);
        expect(reopen().checkpoints()).toEqual([five, dora, { ...exact, state: { kind: 'deleted', atMs: 77 } }, again]);
      }));

    test('details change, and nothing else of the row', () =>
      atPlace((store, reopen) => {
        store.commit([added(five), added(dora)]);
        const details = { metrics: { judge: 0.7 }, architecture: undefined, library: undefined };
        store.commit([{ kind: 'detailed', id: five.id, details }]);
        expect(reopen().checkpoints()).toEqual([{ ...five, details }, dora]);
      }));

    test('the last signature per name and directory is the one that was seen', () =>
      atPlace((store, reopen) => {
        store.commit([added(five), { kind: 'seen', sighting: sightingOf(five, '2') }]);
        const after = reopen();
        expect(after.seen(five.name, '/runs/x')).toBe('2');
        expect([after.seen(five.name, '/elsewhere'), after.seen(dora.name, '/runs/x')]).toEqual([undefined, undefined]);
      }));

    test('latest, aliases and pins: the last word counts, and what is removed is gone', () =>
      atPlace((store, reopen) => {
        store.commit([added(five), added(dora)]);
        const listed: Pin = { ...pin, id: 'p2', steps: [5, 40], untilMs: undefined };
        store.commit([
          { kind: 'promoted', model: five.model, checkpoint: five.id },
          { kind: 'promoted', model: five.model, checkpoint: dora.id },
          { kind: 'aliased', alias: champion },
          { kind: 'aliased', alias: { ...champion, model: as('n') } },
          { kind: 'aliased', alias: { ...champion, step: 6, by: 'you' } },
          { kind: 'pinned', pin },
          { kind: 'pinned', pin: listed },
        ]);
        const first = reopen();
        expect([...first.promoted()]).toEqual([['m', dora.id]]);
        expect(first.aliases()).toEqual([
          { ...champion, step: 6, by: 'you' },
          { ...champion, model: 'n' },
        ]);
        expect(first.pins()).toEqual([pin, listed]);
        first.commit([
          { kind: 'unaliased', model: champion.model, alias: 'champion' },
          { kind: 'unpinned', id: 'p1' },
        ]);
        const second = reopen();
        expect(second.aliases()).toEqual([{ ...champion, model: 'n' }]);
        expect(second.pins()).toEqual([listed]);
      }));

    test('reservations, the oldest first: the last word counts, and what is released is gone', () =>
      atPlace((store, reopen) => {
        const later: ReservationRow = { ...reservation, id: 'a', kind: 'class', createdAtMs: 2, untilMs: undefined };
        store.commit([
          { kind: 'reserved', reservation: later },
          { kind: 'reserved', reservation },
          { kind: 'reserved', reservation: { ...reservation, slots: 2 } },
        ]);
        const first = reopen();
        expect(first.reservations()).toEqual([{ ...reservation, slots: 2 }, later]);
        first.commit([{ kind: 'released', id: 'r1' }]);
        expect(reopen().reservations()).toEqual([later]);
      }));

    test('backends and engines: one row for each name, and what is gone is gone', () =>
      atPlace((store, reopen) => {
        const older: BackendRow = { ...backend, name: as<BackendName>('z'), sinceMs: 1 };
        const failed: EngineRow = { ...engine, phase: 'failed', process: undefined, about: 'it ended 5 times' };
        store.commit([
          { kind: 'backendAdded', backend },
          { kind: 'backendAdded', backend: older },
          { kind: 'engineChanged', engine },
        ]);
        const first = reopen();
        expect([first.backends(), first.engines()]).toEqual([[older, backend], [engine]]);
        first.commit([
          { kind: 'backendRemoved', name: older.name },
          { kind: 'engineChanged', engine: failed },
        ]);
        const second = reopen();
        expect([second.backends(), second.engines()]).toEqual([[backend], [failed]]);
        second.commit([{ kind: 'engineGone', name: engine.name }]);
        expect(reopen().engines()).toEqual([]);
      }));

    test('cordons, by backend: the last word counts, and what was taken back is gone', () =>
      atPlace((store, reopen) => {
        const other: CordonRow = { ...cordon, backend: as<BackendName>('a') };
        store.commit([
          { kind: 'cordoned', cordon },
          { kind: 'cordoned', cordon: other },
          { kind: 'cordoned', cordon: { ...cordon, who: 'another' } },
        ]);
        const first = reopen();
        expect(first.cordons()).toEqual([other, { ...cordon, who: 'another' }]);
        first.commit([{ kind: 'uncordoned', backend: other.backend }]);
        expect(reopen().cordons()).toEqual([{ ...cordon, who: 'another' }]);
      }));

    test('builds: the newest of each deployment by name, all of one newest first; the oldest go, and all with their deployment', () =>
      atPlace((store, reopen) => {
        const bare = { generation: {}, template: undefined, chat: false };
        const other: Build = { ...build, ...bare, deployment: 'chat' };
        const later = [2, 3].map((number): Build => ({ ...build, build: number, copyOf: number - 1 }));
        store.commit([build, ...later, other].map((one) => ({ kind: 'built', build: one, keep: 2 })));
        const first = reopen();
        expect(first.deployments()).toEqual([other, later[1]]);
        expect(first.builds('support')).toEqual(later.toReversed());
        first.commit([{ kind: 'undeployed', deployment: 'support' }]);
        const second = reopen();
        expect([second.deployments(), second.builds('support')]).toEqual([[other], []]);
      }));

    test('keys, the oldest first: the last word counts', () =>
      atPlace((store, reopen) => {
        const bare = { previous: undefined, class: undefined, perMinute: undefined, concurrentMax: undefined };
        const later: KeyRow = { ...key, ...bare, id: 'a', createdAtMs: 2, untilMs: undefined, revokedAtMs: undefined };
        store.commit([
          { kind: 'keyed', key: later },
          { kind: 'keyed', key },
          { kind: 'keyed', key: { ...key, name: 'renamed' } },
        ]);
        expect(reopen().keys()).toEqual([{ ...key, name: 'renamed' }, later]);
      }));

    test('the audit log, newest first, in pages; the oldest entries go, and no id comes twice', () =>
      atPlace((store, reopen) => {
        const all = [1, 2, 3, 4].map((atMs): AuditEntry => ({ ...entry, atMs }));
        for (const one of all) store.commit([{ kind: 'audited', entry: one, keep: 3 }]);
        const after = reopen();
        expect(after.audit({ limit: 2 }).map(({ id, atMs }) => [id, atMs])).toEqual([
          [4, 4],
          [3, 3],
        ]);
        expect(after.audit({ limit: 9, before: 3 })).toEqual([{ id: 2, ...all[1] }]);
      }));

    test('the history of one model, newest first, as far back as asked for', () =>
      atPlace((store, reopen) => {
        const moves = [1, 2, 3].map(
          (atMs): Move => ({ ...move, from: atMs === 1 ? undefined : atMs, to: atMs + 1, atMs }),
        );
        const removed: Move = { ...move, to: undefined, atMs: 4 };
        store.commit(
          [...moves, removed, { ...move, model: as<ModelName>('n') }].map((one) => ({ kind: 'moved', move: one })),
        );
        expect(reopen().history(as('m'), 100)).toEqual([...moves, removed].toReversed());
        expect(reopen().history(as('m'), 2)).toEqual([removed, moves[2]]);
      }));

    test('a commit is whole or not at all', () =>
      atPlace((store, reopen) => {
        store.commit([added(five)]);
        const before = contentsOf(store);
        const twin = { ...five, id: as<Checkpoint['id']>('twin') };
        const changes: Change[] = [
          { kind: 'aliased', alias: champion },
          { kind: 'moved', move },
          { kind: 'pinned', pin },
          { kind: 'reserved', reservation },
          { kind: 'cordoned', cordon },
          { kind: 'built', build, keep: 9 },
          { kind: 'keyed', key },
          { kind: 'audited', entry, keep: 9 },
          { kind: 'seen', sighting: sightingOf(five, '2') },
          { kind: 'deleted', id: five.id, atMs: 1 },
          added(twin), // one name has each revision once
        ];
        expect(() => store.commit(changes)).toThrow();
        expect(contentsOf(store)).toEqual(before);
        expect(contentsOf(reopen())).toEqual(before);
      }));

    test('any sequence of changes: what it says before it is closed, it says after it was opened again', () => {
      for (const seed of seeds(3)) {
        atPlace((store, reopen) => {
          const random = seeded(seed);
          let open = store;
          let revision = 0;
          const ids: Checkpoint['id'][] = [];
          for (let turn = 0; turn < 60; turn++) {
            const step = random.below(4);
            const id = ids[random.below(ids.length)];
            const fresh = { ...checkpoint('m', step), id: as<Checkpoint['id']>(`id ${turn}`), revision: ++revision };
            const alias = { ...champion, alias: random.pick(['a', 'b']), step };
            open.commit(
              random.pick<readonly Change[]>([
                [added(fresh)],
                [
                  { kind: 'aliased', alias },
                  { kind: 'moved', move: { ...move, to: step } },
                ],
                [{ kind: 'unaliased', model: alias.model, alias: alias.alias }],
                [{ kind: 'pinned', pin: { ...pin, id: `p${step}`, from: turn } }],
                [{ kind: 'unpinned', id: `p${step}` }],
                [{ kind: 'reserved', reservation: { ...reservation, id: `r${step}`, slots: turn } }],
                [{ kind: 'released', id: `r${step}` }],
                [{ kind: 'cordoned', cordon: { ...cordon, backend: as<BackendName>(`b${step}`), sinceMs: turn } }],
                [{ kind: 'uncordoned', backend: as<BackendName>(`b${step}`) }],
                [{ kind: 'built', build: { ...build, build: turn + 1 }, keep: 3 }],
                [{ kind: 'undeployed', deployment: 'support' }],
                [{ kind: 'keyed', key: { ...key, id: `k${step}`, createdAtMs: turn } }],
                [{ kind: 'audited', entry: { ...entry, atMs: turn }, keep: 3 }],
                id === undefined ? [] : [{ kind: 'deleted', id, atMs: turn }],
                id === undefined ? [] : [{ kind: 'promoted', model: fresh.model, checkpoint: id }],
              ]),
            );
            if (open.checkpoints().some((one) => one.id === fresh.id)) ids.push(fresh.id);
            const before = contentsOf(open);
            if (random.chance(0.2)) open = reopen();
            expect(contentsOf(open), `seed ${seed}, turn ${turn}`).toEqual(before);
          }
        });
      }
    });
  });
}
