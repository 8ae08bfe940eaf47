// A gateway whose requests for my-model@5 and @6 wait until their callers leave, and callers that wait.
import { onTestFinished } from 'vitest';
import { hang } from '../faults/bad-engine.ts';
import { openFaulty } from '../faults/faulty.ts';
import { type House, until } from '../gateway/harness.ts';

/** `limits` over the defaults. Requests for the base are answered; those for a step wait for a load that does not end. */
export async function openStalled(limits: Record<string, number>): Promise<House> {
  const house = await openFaulty({ limits, deadlines: {} });
  house.engine.does('load', hang);
  for (const step of [5, 6]) await house.write(step);
  return house;
}

/** A body of exactly so many bytes. */
export function bodyOf(model: string, bytes: number): string {
  const body = JSON.stringify({ model, prompt: '' });
  return body.replace('""', `"${'x'.repeat(bytes - body.length)}"`);
}

export const waitingIn = (house: House): number => house.running.gateway.router.state.waiting;

/** `count` more requests wait. Returns the way in which they all leave. */
export async function wait(house: House, model: string, { count = 1, bytes = 100 } = {}): Promise<() => Promise<void>> {
  const before = waitingIn(house);
  const leaving = new AbortController();
  onTestFinished(() => leaving.abort());
  for (let index = 0; index < count; index++) {
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: bodyOf(model, bytes) };
    fetch(`${house.running.url}/v1/completions`, { ...init, signal: leaving.signal }).catch(() => {});
  }
  await until(() => waitingIn(house) === before + count);
  return async () => {
    const left = waitingIn(house) - count;
    leaving.abort();
    await until(() => waitingIn(house) === left);
  };
}

export interface Told {
  readonly status: number;
  readonly code: string | undefined;
  readonly message: string;
  readonly retryAfter: string | null;
}

export async function told(answer: Promise<Response>): Promise<Told> {
  const response = await answer;
  const { error } = (await response.json()) as { error?: { code: string; message: string } };
  const retryAfter = response.headers.get('retry-after');
  return { status: response.status, code: error?.code, message: error?.message ?? '', retryAfter };
}
