// A gateway with a step, and a deployment of it; and how a prediction is asked.
import { expect } from 'vitest';
import { type House, type SetUp, setUp } from '../gateway/harness.ts';

export interface Predicted {
  readonly status: number;
  readonly body: {
    readonly success: boolean;
    readonly response?: { readonly text: string; readonly model: string; readonly usage: unknown };
    readonly errors?: readonly { readonly code: string; readonly message: string }[];
  };
  readonly headers: Headers;
}

export async function predict(
  house: House,
  name: string,
  { body = { request: { prompt: 'Hello' } }, headers = {} }: { body?: unknown; headers?: Record<string, string> } = {},
): Promise<Predicted> {
  const response = await house.post(`/v1/deployments/${name}/predict`, body, headers);
  return { status: response.status, body: (await response.json()) as Predicted['body'], headers: response.headers };
}

/** Status, code and message of a refusal. */
export const refusal = ({ status, body }: Predicted) => [status, body.errors?.[0]?.code, body.errors?.[0]?.message];

/** What the engine was sent last. */
export function sent({ sims }: House) {
  const { path, body = '{}', headers = {} } = sims[0]?.seen() ?? {};
  return { path, headers, body: JSON.parse(body) as Record<string, unknown> };
}

/** `support` leads to my-model@5, but for what is wished. */
export async function houseWith(wish: Record<string, unknown> = {}, more: SetUp = {}): Promise<House> {
  const house = await setUp({ latest: 'published', ...more });
  await house.write(5);
  expect(await house.admin('PUT', '/deployments/support', { target: 'my-model@5', ...wish })).toMatchObject({
    status: 200,
    body: { name: 'support', build: 1, leadsTo: 'my-model@5' },
  });
  return house;
}
