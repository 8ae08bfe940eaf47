// Which request is next: step after step, so that each is loaded once. Pure.
import type { SweepRequest } from './requests.ts';

export interface Work {
  readonly step: number;
  /** As the gateway names it. */
  readonly name: string;
  /** Those that have no answer yet. */
  readonly requests: readonly SweepRequest[];
}

export interface Item {
  readonly work: Work;
  readonly request: SweepRequest;
}

interface Lane {
  readonly work: Work;
  issued: number;
  inFlight: number;
}

export class Agenda {
  readonly #lanes: Lane[];
  readonly #abreast: number;

  /** @param abreast how many steps run side by side: as many as there are engines, since each is best at one at a time */
  constructor(work: readonly Work[], abreast: number) {
    this.#lanes = work
      .filter(({ requests }) => requests.length > 0)
      .map((one) => ({ work: one, issued: 0, inFlight: 0 }));
    this.#abreast = abreast;
  }

  /** The next request of the step that has the fewest in flight, among the first that are not through. */
  next(): (Item & { readonly ended: () => void }) | undefined {
    let lane = this.#lanes[0];
    for (const other of this.#lanes.slice(1, this.#abreast))
      if (lane !== undefined && other.inFlight < lane.inFlight) lane = other;
    const request = lane?.work.requests[lane.issued];
    if (lane === undefined || request === undefined) return undefined;
    const { work } = lane;
    const taken = lane;
    taken.issued++;
    taken.inFlight++;
    if (taken.issued === work.requests.length) this.#lanes.splice(this.#lanes.indexOf(taken), 1);
    return { work, request, ended: () => void taken.inFlight-- };
  }
}
