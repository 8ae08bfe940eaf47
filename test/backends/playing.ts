// A vLLM driver in front of a stand-in, and the answers that more than one suite needs.
import type { ServerResponse } from 'node:http';
import { Pool } from 'undici';
import { onTestFinished } from 'vitest';
import type { Driver } from '../../src/backends/driver.ts';
import { createVllmDriver } from '../../src/backends/vllm.ts';
import { as, type Weights } from '../../src/domain.ts';
import { type Reply, standIn } from './stand-in.ts';

/** Step 5 of my-model, or another, with its files there. */
export const weightsAt = (path: string | undefined, step = 5): Weights => ({
  id: as(`my-model@${step}`),
  path,
  checkpoint: {
    id: as(`00000000-0000-4000-8000-${String(step).padStart(12, '0')}`),
    name: as(`my-model@${step}`),
    model: as('my-model'),
    step,
  },
});

export const MODELS = 'GET /v1/models';

export const card = (id: string, more: object = {}) => ({
  id,
  object: 'model',
  root: '/models/base',
  parent: null,
  max_model_len: 1024,
  ...more,
});
export const adapterCard = (id: string, root: string) => card(id, { root, parent: 'base', max_model_len: null });
export const models = (...cards: object[]): Reply => ({ json: { object: 'list', data: [card('base'), ...cards] } });

export const hang = () => {};
export const reset = (response: ServerResponse) => response.socket?.resetAndDestroy();
export const soon = () => AbortSignal.timeout(5_000);

export async function driverOf(url: string, slots?: number): Promise<Driver> {
  const dispatcher = new Pool(new URL(url).origin);
  onTestFinished(() => dispatcher.destroy());
  return createVllmDriver({ url, dispatcher, slots });
}

export async function playing(routes: Record<string, Reply>, slots?: number) {
  const engine = await standIn(routes);
  return { engine, driver: await driverOf(engine.url, slots) };
}
