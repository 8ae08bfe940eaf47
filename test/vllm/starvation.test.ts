// An engine with two slots, two adapters asked for without a pause, and one request for a third: straight at the real vLLM it starves, through
// the gateway it is answered within its bound. Waiting is counted in the requests that overtake, so that slow machines see the same.
// Run by `npm run test:vllm`; the figures are bench/starvation's.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { asked, EngineClient, poll } from '../engine/client.ts';
import { setUp } from '../gateway/harness.ts';
import { seeded, seeds } from '../random.ts';
import { startVllm, type Vllm } from './engine.ts';

const CLIENTS = 6;
/** Two of every client's: each has had its turn, and the slots never stood empty for want of requests. */
const OVERTAKEN = 2 * 2 * CLIENTS;
/** Where other work shares the cores, an engine on the CPU makes an answer in seconds. */
const TEST_MS = 300_000;
/** The default of scheduling.drainAfterMs for somebody who waits for a stream. */
const DRAIN_MS = 2_000;
/** Far more than a load takes; far less than for ever. */
const LOAD_MS = 10_000;

let vllm: Vllm;
let engine: EngineClient;

beforeAll(async () => {
  vllm = await startVllm();
  engine = new EngineClient(vllm.url);
});
afterAll(() => vllm?.close());
beforeEach(async () => {
  for (const { id, parent } of await engine.cards()) if (parent !== null) await engine.unload(String(id));
});

/** Keeps each of the models busy until `leave`; their answers differ in length, or a crowd in step would free all slots at once. */
class Loops {
  answered = 0;
  longestMs = 0;
  readonly #loops: Promise<unknown>;
  #isOpen = true;

  constructor(client: EngineClient, models: readonly string[]) {
    const [seed = 0] = seeds(1);
    console.log(`seed ${seed}`);
    const random = seeded(seed);
    const loop = async (model: string) => {
      while (this.#isOpen) {
        const sentAt = performance.now();
        const { status, text } = await client.post('/v1/completions', asked(model, 16 + random.below(17)));
        if (status !== 200) throw new Error(`${model}: ${status} ${text}`);
        this.longestMs = Math.max(this.longestMs, performance.now() - sentAt);
        this.answered += 1;
      }
    };
    this.#loops = Promise.all(models.flatMap((model) => Array.from({ length: CLIENTS }, () => loop(model))));
    this.#loops.catch(() => {});
  }

  /** So many more are answered. */
  async more(answers: number): Promise<void> {
    const until = this.answered + answers;
    await Promise.race([poll(`${answers} more answers`, TEST_MS, async () => this.answered >= until), this.#loops]);
  }

  async leave(): Promise<void> {
    this.#isOpen = false;
    await this.#loops;
  }
}

test(
  'straight at the engine the third has no token while the others go on, however many; once they stop it has',
  async () => {
    const models = ['starving', 'busy-1', 'busy-2'];
    for (const [index, path] of [...vllm.checkpoints.values()].slice(0, 3).entries())
      await engine.load(models[index] ?? '', path);
    const [third = '', ...busy] = models;
    const loops = new Loops(engine, busy);
    await loops.more(2 * CLIENTS);

    const starving = await engine.longStream(third, 4);
    expect(starving.status).toBe(200);
    await loops.more(4 * OVERTAKEN);
    expect(starving.data).toEqual([]);
    expect(starving.ended).toBe(false);

    await loops.leave();
    expect((await starving.end()).at(-1)).toBe('[DONE]');
  },
  TEST_MS,
);

test(
  'through the gateway the third has its token within its bound, and the others go on',
  async () => {
    const house = await setUp({ urls: [vllm.url], runs: vllm.runs, latest: 'published' });
    const client = new EngineClient(house.running.url);
    const { catalog } = house.running.gateway.registry;
    await poll('all steps are known', 20_000, async () => catalog.servable().length === vllm.checkpoints.size);
    const [third = '', ...busy] = [...vllm.checkpoints.keys()].slice(0, 3).map((step) => `my-model@${step}`);
    const loops = new Loops(client, busy);
    await loops.more(2 * CLIENTS);

    for (let time = 0; time < 2; time++) {
      const since = performance.now();
      const stream = await client.longStream(third, 4);
      await stream.until(1);
      const waitMs = performance.now() - since;
      expect((await stream.end()).at(-1)).toBe('[DONE]');
      // What ran in the slot that was drained for it has ended by then.
      expect(waitMs, `longest answer: ${loops.longestMs} ms`).toBeLessThan(DRAIN_MS + loops.longestMs + LOAD_MS);
      await loops.more(OVERTAKEN);
    }
    await loops.leave();
  },
  TEST_MS,
);
