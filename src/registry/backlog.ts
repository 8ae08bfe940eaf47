// Complete checkpoints that wait to be taken, and who is next. From both ends at once: the newest, since people wait for it and a backlog
// must not delay it; and the oldest, since that is the one which a trainer that rotates removes next.

export interface Job {
  readonly step: number;
  /** Never rejects. */
  readonly take: () => Promise<void>;
}

/** Fewer than the threads that Node has for files: a backlog leaves one for everything else. */
const AT_ONCE = { newest: 2, oldest: 1 } as const;
type End = keyof typeof AT_ONCE;

export class Backlog {
  /** Ascending by step. */
  readonly #jobs: Job[] = [];
  readonly #underWay = new Map<Promise<void>, End>();
  #closed = false;

  add(job: Job): void {
    if (this.#closed) return;
    let low = 0;
    let high = this.#jobs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#jobs[middle]?.step ?? 0) <= job.step) low = middle + 1;
      else high = middle;
    }
    this.#jobs.splice(low, 0, job);
    this.#fill();
  }

  /** What waits is let go of; resolves when what is being taken has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#jobs.length = 0;
    await Promise.all(this.#underWay.keys());
  }

  #fill(): void {
    for (const end of ['newest', 'oldest'] as const) {
      while (this.#jobs.length > 0 && this.#count(end) < AT_ONCE[end]) {
        const job = end === 'newest' ? this.#jobs.pop() : this.#jobs.shift();
        if (job) this.#start(end, job);
      }
    }
  }

  #start(end: End, job: Job): void {
    const taking = job.take().finally(() => {
      this.#underWay.delete(taking);
      this.#fill();
    });
    this.#underWay.set(taking, end);
  }

  #count(end: End): number {
    let count = 0;
    for (const other of this.#underWay.values()) if (other === end) count++;
    return count;
  }
}
