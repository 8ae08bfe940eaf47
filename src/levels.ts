// What the gauges show at a scrape, gathered from the registry and the router.
import type { Gateway } from './gateway.ts';
import type { Levels } from './metrics.ts';

export function levelsOf({ registry, fleet, router, reservations, cordons, bodies }: Gateway): Levels {
  const checkpoints = new Map([
    ['servable', 0],
    ['unservable', 0],
    ['deleted', 0],
  ]);
  for (const model of registry.catalog.models()) {
    for (const { state } of registry.catalog.checkpoints(model)) count(checkpoints, state.kind);
  }
  const backends = [...fleet.members].map(([name, member]) => {
    const known = router.state.backends.get(name);
    const residency = new Map([
      ['loading', 0],
      ['ready', 0],
      ['draining', 0],
    ]);
    for (const held of known?.held.values() ?? []) count(residency, held.residency.state);
    return {
      name,
      up: member.state === 'up',
      cordoned: cordons.of(name) !== undefined,
      ejected: known !== undefined && known.health.standing.kind !== 'whole',
      slots: member.backend.kind === 'openai-compatible' ? 0 : (known?.slots ?? 0),
      inFlight: known?.inFlight ?? 0,
      residency,
    };
  });
  const reserved = new Map<string, number>();
  for (const { kind, kept } of reservations.all()) reserved.set(kind, (reserved.get(kind) ?? 0) + kept);
  const { waiting, quarantine } = router.state;
  const bytes = { bufferedBytes: bodies.bytes, storeBytes: registry.storeBytes };
  return { waiting, quarantined: quarantine.size, ...bytes, checkpoints, reserved, backends };
}

const count = (counts: Map<string, number>, key: string): void => void counts.set(key, (counts.get(key) ?? 0) + 1);
