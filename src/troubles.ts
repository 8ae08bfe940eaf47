// Tells people what requests showed of engines and adapters: one line in the log, one event in the journal, one count. It decides nothing.
import type { Logger } from 'pino';
import { assertNever } from './domain.ts';
import type { Journal } from './journal.ts';
import type { Metrics } from './metrics.ts';
import type { Effect } from './router/effects.ts';

export type Trouble = Extract<Effect, { type: 'standing' | 'quarantine' }>;

export function tellTrouble(
  trouble: Trouble,
  { log, journal, metrics }: { readonly log: Logger; readonly journal: Journal; readonly metrics: Metrics },
): void {
  const { about } = trouble;
  switch (trouble.type) {
    case 'standing': {
      const { backend, standing, forMs } = trouble;
      if (standing === 'ejected') {
        metrics.ejected(backend);
        log.warn({ backend, about, forMs }, 'backend ejected: nothing new is placed there');
      } else if (standing === 'trial') log.info({ backend, about }, 'backend on trial: one request at a time');
      else log.info({ backend, about }, 'backend takes requests again');
      return journal.tell({ type: 'standing', backend, standing, about });
    }
    case 'quarantine': {
      const { adapter, phase } = trouble;
      if (phase === 'kept') {
        metrics.quarantined();
        log.error({ adapter, about }, 'adapter under quarantine: loaded nowhere');
      } else if (phase === 'trial') log.warn({ adapter, about }, 'adapter on trial: it may be loaded on one engine');
      else log.info({ adapter, about }, 'adapter free of quarantine');
      return journal.tell({ type: 'quarantine', adapter, phase, about });
    }
    default:
      return assertNever(trouble);
  }
}
