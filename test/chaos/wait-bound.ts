// The bound on waiting (docs/scheduling.md), held against what requests really waited in a quiet stretch. It listens to the gateway's own events, and
// takes the times of loads and answers from there, so that a slow machine has a bound that is as much longer.
import { request } from 'undici';
import { type GatewayProcess, SCHEDULING } from './gateway.ts';

/** Config keys left at their defaults. */
const [QUANTUM_LOADS, BATCH_LOADS] = [4, 32];
/** Requests that an engine runs at once: what learning starts at, and never falls below here. */
const RUNNING = 256;

interface Heard {
  readonly type: string;
  readonly tookMs?: number;
  readonly waitedMs?: number;
  readonly model?: string;
}

export interface Waits {
  readonly answered: number;
  readonly longestMs: number;
  readonly boundMs: number;
}

export class WaitWatch {
  readonly #heard = { answered: 0, waitMs: 0, runMs: 0, loadMs: 0, unloadMs: 0 };
  readonly #adapters = new Set<string>();
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;

  private constructor(events: AsyncIterable<Buffer>) {
    this.#ended = this.#listen(events).catch(() => {});
  }

  static async start(gateway: GatewayProcess): Promise<WaitWatch> {
    const stop = new AbortController();
    const { body } = await request(`${gateway.adminUrl}/admin/v1/events`, {
      reset: true,
      headers: gateway.authorization,
      signal: stop.signal,
      bodyTimeout: 0,
    });
    const watch = new WaitWatch(body);
    watch.#stop.signal.addEventListener('abort', () => stop.abort());
    return watch;
  }

  async #listen(events: AsyncIterable<Buffer>): Promise<void> {
    let rest = '';
    for await (const chunk of events) {
      const lines = (rest + chunk.toString('utf8')).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.startsWith('data: ')) this.#hear(JSON.parse(line.slice(6)));
    }
  }

  #hear({ type, tookMs = 0, waitedMs = 0, model = '' }: Heard): void {
    const heard = this.#heard;
    if (type === 'loaded') heard.loadMs = Math.max(heard.loadMs, tookMs);
    if (type === 'unloaded') heard.unloadMs = Math.max(heard.unloadMs, tookMs);
    if (type !== 'answered') return;
    heard.answered += 1;
    heard.waitMs = Math.max(heard.waitMs, waitedMs);
    heard.runMs = Math.max(heard.runMs, tookMs - waitedMs);
    this.#adapters.add(model);
  }

  /** `slots`: those that nobody has reserved; `clients`: at once. */
  async end({ slots, clients }: { readonly slots: number; readonly clients: number }): Promise<Waits> {
    this.#stop.abort();
    await this.#ended;
    const { answered, waitMs, runMs, loadMs, unloadMs } = this.#heard;
    const moveMs = loadMs + unloadMs;
    const dueMs = Math.max(SCHEDULING.drainAfterMs.eval, Math.min(SCHEDULING.batchMsMax, BATCH_LOADS * loadMs));
    const rounds = Math.ceil((this.#adapters.size + 1) / Math.max(1, slots));
    const roomMs = Math.ceil((2 * (clients + 1)) / RUNNING) * runMs;
    const boundMs = dueMs + rounds * (QUANTUM_LOADS * loadMs + runMs + moveMs) + roomMs;
    return { answered, longestMs: waitMs, boundMs };
  }
}
