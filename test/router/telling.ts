// The other way round than transcript.ts: an event in the words that `replay` there reads.
import { assertNever } from '../../src/domain.ts';
import type { AdapterTarget, Reservation, RouterEvent } from '../../src/router/events.ts';

const list = (name: string, items: readonly string[]): string =>
  items.length === 0 ? '' : ` ${name}=${items.join(',')}`;

const option = (name: string, value: unknown, usual: unknown): string => (value === usual ? '' : ` ${name}=${value}`);

const target = ({ adapter, base, rank }: AdapterTarget): string =>
  `${adapter}${option('base', base, 'base')}${option('rank', rank, 8)}`;

export function tell(event: RouterEvent): string {
  switch (event.type) {
    case 'arrived': {
      const what = event.target.kind === 'base' ? event.target.base : target(event.target);
      const who = option('class', event.class, 'interactive') + option('tenant', event.tenant, '');
      return `arrived ${event.ticket} ${what}${who}${option('affinity', event.affinity, undefined)}`;
    }
    case 'cancelled':
      return `cancelled ${event.ticket}`;
    case 'ended':
      return `ended ${event.ticket}${event.outcome === 'done' ? '' : ` ${event.outcome}`}`;
    case 'loaded':
    case 'unloaded':
    case 'unloadFailed':
      return `${event.type} ${event.backend} ${event.adapter}`;
    case 'loadFailed':
      return `loadFailed ${event.backend} ${event.adapter} ${event.fault} ${event.message}`;
    case 'backendUp': {
      const room = ` slots=${event.slots}${option('rankMax', event.rankMax, undefined)}${option('runningMax', event.runningMax, undefined)}${option('startedAt', event.startedAt, undefined)}`;
      const bases = event.bases.join() === 'base' ? '' : list('bases', event.bases);
      return `up ${event.backend}${room}${bases}${list('holds', event.adapters ?? [])}`;
    }
    case 'backendDown':
      return `down ${event.backend}${event.died ? ' died' : ''}`;
    case 'backendGone':
      return `gone ${event.backend}`;
    case 'cordoned':
    case 'uncordoned':
      return `${event.type} ${event.backend}`;
    case 'configured':
      return `configured ${JSON.stringify(event.options)}`;
    case 'observed':
      return `observed ${event.backend} askedAt=${event.askedAt} slots=${event.slots}${gauges(event)}${list('holds', event.adapters ?? [])}`;
    case 'published':
      return `published ${target(event.target)}`;
    case 'retired':
    case 'retry':
      return `${event.type} ${event.adapter}`;
    case 'withdrawn':
      return `withdrawn ${event.sweep}`;
    case 'released':
      return `released ${event.reservation}`;
    case 'reserved':
      return `reserved ${event.reservation.id} ${reservedFor(event.reservation)} slots=${event.reservation.slots}`;
    case 'announced':
      return `announced ${event.sweep} ${event.expected.map((one) => `${one.target.adapter}:${one.requests}`).join()}`;
    case 'tick':
      return 'tick';
    default:
      return assertNever(event);
  }
}

const gauges = ({ gauges: told }: Extract<RouterEvent, { type: 'observed' }>): string =>
  told === undefined ? '' : ` running=${told.running} waiting=${told.waiting}`;

function reservedFor({ for: what }: Reservation): string {
  if (what.kind === 'adapter') return `adapter ${target(what.target)}`;
  if (what.kind === 'class') return `class ${what.class}`;
  if (what.kind === 'latest' && what.newest !== undefined) return `latest ${target(what.newest)}`;
  return `${what.kind} ${what.model}${option('base', what.base, 'base')}`;
}
