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
  failureMemoryMs: 30_000,
  replicateAbove: 32,
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

/** `arrived 1 m@5`, `arrived 2 base`, `up gpu-0 slots=2 holds=m@5,m@6`, `ended 1 missing`, `loadFailed gpu-0 m@5 adapter rank too big`, ... */
function parse(text: string): RouterEvent {
  const [type = '', first = '', second = '', third = '', ...rest] = text.split(' ');
  const options = new Map(
    text.split(' ').flatMap((word) => (word.includes('=') ? [word.split('=') as [string, string]] : [])),
  );
  const bases = (options.get('bases') ?? 'base').split(',');
  const adapters = (options.get('holds') ?? '').split(',').filter((id) => id !== '');
  const slots = Number(options.get('slots') ?? 2);
  const rankMax = options.has('rankMax') ? Number(options.get('rankMax')) : undefined;
  const event = ((): unknown => {
    switch (type) {
      case 'arrived':
        return {
          type,
          ticket: Number(first),
          class: options.get('class') ?? 'interactive',
          tenant: options.get('tenant') ?? '',
          affinity: options.has('affinity') ? Number(options.get('affinity')) : undefined,
          target: second.includes('@')
            ? adapterTarget(second, Number(options.get('rank') ?? 8))
            : { kind: 'base', base: second },
        };
      case 'cancelled':
        return { type, ticket: Number(first) };
      case 'ended':
        return { type, ticket: Number(first), outcome: second || 'done' };
      case 'loaded':
      case 'unloaded':
      case 'unloadFailed':
        return { type, backend: first, adapter: second };
      case 'loadFailed':
        return { type, backend: first, adapter: second, fault: third, message: rest.join(' ') };
      case 'up':
        return { type: 'backendUp', backend: first, bases, slots, rankMax, adapters };
      case 'down':
        return { type: 'backendDown', backend: first };
      case 'observed':
        return { type, backend: first, askedAt: Number(options.get('askedAt')), slots, adapters };
      case 'published':
        return {
          type,
          model: first.split('@')[0],
          checkpoint: `id-${first}`,
          target: adapterTarget(first, 8),
        };
      case 'retired':
      case 'pinned':
      case 'unpinned':
        return { type, adapter: first };
      default:
        throw new Error(`no such event in a transcript: ${text}`);
    }
  })();
  return event as RouterEvent;
}

const adapterTarget = (adapter: string, rank: number) => ({
  kind: 'adapter',
  adapter,
  model: adapter.split('@')[0],
  base: 'base',
  rank,
});

function show(effect: Exclude<Effect, { type: 'wakeAt' }>): string {
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
  }
}
