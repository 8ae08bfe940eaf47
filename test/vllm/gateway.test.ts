// The gateway in front of a real vLLM with two slots and six checkpoints: each step is answered by its own weights and not by its
// neighbour's, told apart by the token ids of greedy answers. Run by `npm run test:vllm`.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { EngineClient } from '../engine/client.ts';
import { type House, setUp, until } from '../gateway/harness.ts';
import { startVllm, type Vllm } from './engine.ts';

const TOKENS = 6;
let vllm: Vllm;
let engine: EngineClient;
/** What each adapter says alone, asked of the engine itself. */
const alone = new Map<number, string>();

beforeAll(async () => {
  vllm = await startVllm();
  engine = new EngineClient(vllm.url);
  for (const [step, path] of vllm.checkpoints) {
    const name = `alone-${step}`;
    await engine.load(name, path);
    alone.set(step, String(await engine.tokenIds(name, TOKENS)));
    await engine.unload(name);
  }
});
afterAll(() => vllm?.close());
beforeEach(() => engine.unloadAll());

async function openHouse(config: Record<string, unknown> = {}): Promise<House> {
  const house = await setUp({ urls: [vllm.url], runs: vllm.runs, latest: 'published', config });
  await until(() => house.running.gateway.registry.catalog.servable().length === vllm.checkpoints.size, 20_000);
  return house;
}

const idsOf = (house: House, step: number) =>
  new EngineClient(house.running.url).tokenIds(`my-model@${step}`, TOKENS).then(String);

test('the checkpoints can be told apart', () => {
  expect(new Set(alone.values()).size).toBe(vllm.checkpoints.size);
});

test('the slots are learned from the engine', async () => {
  const house = await openHouse();
  expect(house.running.gateway.router.state.backends.values().next().value?.slots).toBe(vllm.slots);
});

test('more steps than slots, one after the other: each answers with its own tokens', async () => {
  const house = await openHouse();
  const steps = [...vllm.checkpoints.keys()];
  for (const step of [...steps, ...steps.toReversed()]) {
    expect(await idsOf(house, step), `step ${step}`).toBe(alone.get(step));
    const names = (await engine.cards()).filter(({ parent }) => parent !== null);
    expect(names.length).toBeLessThanOrEqual(vllm.slots);
  }
});

test('more steps than slots, all at once, again and again: never a neighbour, never the base, and no adapter starves', async () => {
  const house = await openHouse({ scheduling: { drainAfterMs: { rollout: 500 } } });
  const steps = [...vllm.checkpoints.keys()];
  const asked = Array.from({ length: 10 }, () => steps).flat();
  const wrong: string[] = [];
  const client = async () => {
    for (let step = asked.shift(); step !== undefined; step = asked.shift()) {
      const ids = await idsOf(house, step);
      if (ids !== alone.get(step)) wrong.push(`my-model@${step}: ${ids}`);
    }
  };
  await Promise.all(Array.from({ length: 12 }, client));
  expect(wrong).toEqual([]);
});

test('two adapters in a loop, a third one asked for: it is served within its bound, though the engine alone would starve it', async () => {
  const house = await openHouse({ scheduling: { drainAfterMs: { rollout: 1000 } } });
  const [first = 0, second = 0, third = 0] = vllm.checkpoints.keys();
  let looping = true;
  const loop = async (step: number) => {
    while (looping) expect(await idsOf(house, step)).toBe(alone.get(step));
  };
  const loops = Promise.all(Array.from({ length: 12 }, (_, index) => loop(index % 2 === 0 ? first : second)));
  await until(
    () => [...house.running.gateway.router.state.backends.values()].some(({ inFlight }) => inFlight >= 10),
    30_000,
  );
  const since = performance.now();
  const ids = await idsOf(house, third);
  const tookMs = performance.now() - since;
  looping = false;
  await loops;
  expect(ids).toBe(alone.get(third));
  expect(tookMs).toBeLessThan(10_000);
});

test('a step that the engine has forgotten is loaded again, and the caller never notices', async () => {
  const house = await openHouse();
  const [step = 0] = vllm.checkpoints.keys();
  await idsOf(house, step);
  await engine.unload(`my-model@${step}`);
  expect(await idsOf(house, step)).toBe(alone.get(step));
});

test('the OpenAI SDK streams from it, and every chunk says which step', async () => {
  const house = await openHouse();
  const stream = await house.openai.chat.completions.create({
    model: 'my-model',
    messages: [{ role: 'user', content: 'hello' }],
    max_tokens: 8,
    stream: true,
  });
  const models = new Set<string>();
  for await (const chunk of stream) models.add(chunk.model);
  expect([...models]).toEqual([`my-model@${Math.max(...vllm.checkpoints.keys())}`]);
});
