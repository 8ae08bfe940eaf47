// Reads a transcript, feeds its `>> event` lines to a fresh router, and returns the same transcript with what the router really answered
// as `<< effect` lines: `expect(replay(text)).toBe(text)` then states a promise that can be read aloud. `@ 1500` lets time pass until then,
// ms, with the ticks that the router asked for by `wakeAt`; those are not shown.
import type { Effect } from '../../src/router/effects.ts';
import type { RouterEvent } from '../../src/router/events.ts';
import { Router, type RouterOptions } from '../../src/router/router.ts';

export const OPTIONS: RouterOptions = {
  drainAfterMs: { interactive: 1000, rollout: 3000, eval: 6000 },
  waitMsMax: 10_000,
  queueMax: 100,
  queuePerCheckpointMax: 100,
  failureMemoryMs: 30_000,
  quantumLoads: 4,
  batchLoads: 0,
  batchMsMax: 60_000,
  replicateAbove: 32,
  latestWithinMs: 2000,
  ejectAfter: 5,
  ejectedMs: 30_000,
  quarantineMs: 600_000,
};

export function replay(text: string, options: Partial<RouterOptions> = {}): string {
  const router = new Router({ ...OPTIONS, ...options });
  const lines: string[] = [];
  let now = 0;
  let wakeAt = Number.POSITIVE_INFINITY;
  const feed = (event: RouterEvent) => {
    for (const effect of router.step(event, now)) {
      if (effect.type === 'wakeAt') wakeAt = effect.at;
      else lines.push(show(effect));
    }
  };
  const pass = (until: number) => {
    while (wakeAt <= until) {
      now = wakeAt;
      wakeAt = Number.POSITIVE_INFINITY;
      feed({ type: 'tick' });
    }
    now = until;
  };
  for (const line of text.split('\n').map((raw) => raw.trim())) {
    if (line.startsWith('<<')) continue;
    lines.push(line);
    if (line.startsWith('@')) pass(Number(line.slice(1)));
    if (line.startsWith('>>')) feed(parse(line.slice(2).trim()));
  }
  return lines.join('\n');
}

export const trim = (text: string): string =>
  text
    .split('\n')
    .map((line) => line.trim())
    .join('\n');

/** `arrived 1 m@5`, `arrived 2 base`, `up gpu-0 slots=2 holds=m@5,m@6`, `announced s m@5:10,m@6:10`, `ended 1 missing`, `loadFailed gpu-0 m@5 adapter rank too big`, ... */
export function parse(text: string): RouterEvent {
  const [type = '', first = '', second = '', third = '', ...rest] = text.split(' ');
  const options = new Map(
    text.split(' ').flatMap((word) => (word.includes('=') ? [word.split('=') as [string, string]] : [])),
  );
  const bases = (options.get('bases') ?? 'base').split(',');
  const adapters = (options.get('holds') ?? '').split(',').filter((id) => id !== '');
  const slots = Number(options.get('slots') ?? 2);
  const rankMax = options.has('rankMax') ? Number(options.get('rankMax')) : undefined;
  const setOf = (key: string) => (options.has(key) ? new Set(options.get(key)?.split(',')) : undefined);
  const number = (key: string) => (options.has(key) ? Number(options.get(key)) : undefined);
  const gauges = options.has('running') ? { running: number('running'), waiting: number('waiting') } : undefined;
  const event = ((): unknown => {
    switch (type) {
      case 'arrived':
        return {
          type,
          ticket: Number(first),
          class: options.get('class') ?? 'interactive',
          tenant: options.get('tenant') ?? '',
          route: options.get('route'),
          affinity: options.has('affinity') ? Number(options.get('affinity')) : undefined,
          target: second.includes('@') ? adapterTarget(second, options) : { kind: 'base', base: second },
        };
      case 'cancelled':
        return { type, ticket: Number(first) };
      case 'ended':
        return { type, ticket: Number(first), outcome: second || 'done', gone: options.get('gone') };
      case 'loaded':
      case 'unloaded':
      case 'unloadFailed':
        return { type, backend: first, adapter: second };
      case 'loadFailed':
        return { type, backend: first, adapter: second, fault: third, message: rest.join(' ') };
      case 'up':
        return {
          ...{ type: 'backendUp', backend: first, bases, slots, rankMax, adapters },
          runningMax: number('runningMax'),
          startedAt: number('startedAt'),
          models: setOf('models'),
          routes: setOf('routes'),
        };
      case 'down':
        return { type: 'backendDown', backend: first, died: second === 'died' };
      case 'gone':
        return { type: 'backendGone', backend: first };
      case 'cordoned':
      case 'uncordoned':
        return { type, backend: first };
      case 'configured':
        return { type, options: { ...OPTIONS, ...JSON.parse(first) } };
      case 'observed':
        return {
          ...{ type, backend: first, askedAt: Number(options.get('askedAt')), slots, gauges },
          adapters: options.get('holds') === 'unknown' ? undefined : adapters,
        };
      case 'published':
        return {
          type,
          model: first.split('@')[0],
          checkpoint: `id-${first}`,
          target: adapterTarget(first, options),
        };
      case 'retired':
      case 'retry':
        return { type, adapter: first };
      case 'reserved':
        return {
          type,
          reservation: {
            id: first,
            for: reservedFor(second, third, options),
            slots: Number(options.get('slots') ?? 1),
          },
        };
      case 'released':
        return { type, reservation: first };
      case 'announced':
        return { type, sweep: first, expected: second.split(',').map(expectation) };
      case 'withdrawn':
        return { type, sweep: first };
      default:
        throw new Error(`no such event in a transcript: ${text}`);
    }
  })();
  return event as RouterEvent;
}

/** `m@5:10`: ten requests for m@5. */
const expectation = (text: string) => {
  const [adapter = '', requests] = text.split(':');
  return { target: adapterTarget(adapter), requests: Number(requests) };
};

const adapterTarget = (adapter: string, options: ReadonlyMap<string, string> = new Map()) => ({
  kind: 'adapter',
  adapter,
  model: adapter.split('@')[0],
  base: options.get('base') ?? 'base',
  rank: Number(options.get('rank') ?? 8),
  ...(options.has('hosted') && { hosted: true }),
});

/** `adapter m@5`, `model m`, `latest m@5` (where it leads now) or `latest m`, `class eval`. */
function reservedFor(kind: string, what: string, options: ReadonlyMap<string, string>): unknown {
  if (kind === 'adapter') return { kind, target: adapterTarget(what, options) };
  if (kind === 'class') return { kind, class: what };
  const newest = what.includes('@') ? adapterTarget(what, options) : undefined;
  return { kind, model: what.split('@')[0], base: options.get('base') ?? 'base', ...(newest && { newest }) };
}

export function show(effect: Exclude<Effect, { type: 'wakeAt' }>): string {
  switch (effect.type) {
    case 'dispatch':
      return `<< dispatch ${effect.ticket} ${effect.backend} ${effect.why}`;
    case 'load':
    case 'unload':
      return `<< ${effect.type} ${effect.backend} ${effect.adapter} ${effect.why}`;
    case 'promote':
      return `<< promote ${effect.model} ${effect.checkpoint}`;
    case 'reject':
      return `<< reject ${effect.ticket} ${effect.code}`;
    case 'standing':
      return `<< standing ${effect.backend} ${effect.standing}${effect.forMs > 0 ? ` ${effect.forMs}` : ''}`;
    case 'quarantine':
      return `<< quarantine ${effect.adapter} ${effect.phase}`;
  }
}
