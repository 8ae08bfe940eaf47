// LoRAX: a queue per adapter; an adapter that has been active for 2 s makes way when others wait (--adapter-cycle-time-s).
import type { Contender } from '../types.ts';
import { type Place, Queueing, type Resident } from './queueing.ts';

const CYCLE_MS = 2000;

class Lorax extends Queueing {
  protected override worth({ lastUsedAt }: Resident): number {
    return lastUsedAt;
  }

  protected override isTurnOver({ since }: Resident, _place: Place, now: number): boolean {
    return now - since >= CYCLE_MS;
  }
}

export const lorax: Contender = {
  name: 'lorax',
  source: "predibase/lorax, adapter cycle time 2 s; one engine's scheduler, behind affinity with SGLang's gates",
  residency: 'host',
  create: () => new Lorax(),
};
