// A gateway in front of bad engines, with deadlines that a test can wait for, and what its callers and its books say.
import { expect } from 'vitest';
import { type Answer, type House, setUp, until } from '../gateway/harness.ts';
import { chat } from './bad-client.ts';
import { type BadEngine, badEngine } from './bad-engine.ts';

export const DEADLINES = { connectMs: 300, loadMs: 300, firstTokenMs: 300, betweenChunksMs: 300, wholeMs: 900 };

export interface Faulty extends House {
  readonly engine: BadEngine;
  readonly engines: readonly BadEngine[];
}

/** Each engine has two slots and holds nothing yet. */
export async function openFaulty(config: Record<string, unknown> = {}, engineCount = 1): Promise<Faulty> {
  const engines = await Promise.all(Array.from({ length: engineCount }, badEngine));
  const [engine] = engines;
  if (engine === undefined) throw new Error('a gateway needs an engine');
  const urls = engines.map(({ url }) => url);
  const house = await setUp({ urls, latest: 'published', config: { deadlines: DEADLINES, ...config } });
  return { ...house, engine, engines };
}

/** As `openFaulty`, with my-model@5 on its engine. */
export async function openWithStep(config: Record<string, unknown> = {}, engineCount = 1): Promise<Faulty> {
  const faulty = await openFaulty(config, engineCount);
  await faulty.write(5);
  expect(await faulty.ask('my-model@5')).toMatchObject({ status: 200, model: 'my-model@5' });
  for (const engine of faulty.engines) engine.asked.length = 0;
  return faulty;
}

/** What a caller was told: a status, with the code of the error if it is one. */
export const told = ({ status, code }: Answer): string => (code === undefined ? `${status}` : `${status} ${code}`);

export interface Streamed {
  readonly status: number;
  readonly text: string;
  /** The connection was cut before the stream had ended. */
  readonly isBroken: boolean;
}

export async function stream(house: House, model: string, signal?: AbortSignal): Promise<Streamed> {
  const response = await fetch(`${house.running.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: chat(model, { stream: true }),
    ...(signal && { signal }),
  });
  let text = '';
  try {
    for await (const bytes of response.body ?? []) text += Buffer.from(bytes).toString();
  } catch {
    return { status: response.status, text, isBroken: true };
  }
  return { status: response.status, text, isBroken: false };
}

/** How a stream ended, as a caller reads it. */
export function ending({ status, text, isBroken }: Streamed): string {
  if (status !== 200) return `${status} ${/"code":"(\w+)"/.exec(text)?.[1]}`;
  if (isBroken) return 'the connection is broken';
  const last = text.trimEnd().split('\n\n').at(-1) ?? '';
  if (last === 'data: [DONE]') return '[DONE]';
  const errors = text.match(/^data: \{"error"/gm)?.length ?? 0;
  const code = /^data: \{"error":.*"code":"(\w+)"\}\}$/.exec(last)?.[1];
  if (code === undefined) return `its last event as it came, ${text.includes('[DONE]') ? 'and' : 'no'} [DONE]`;
  return `${errors === 1 ? 'an' : errors} error event ${code}, ${text.includes('[DONE]') ? 'after' : 'no'} [DONE]`;
}

/** Nothing is under way, nobody waits, no lease is open. Rejects when it never comes to that. */
export async function slotFree({ running: { gateway } }: House): Promise<string> {
  await until(() => {
    const { router, inFlight } = gateway;
    const leases = [...router.state.backends.values()].flatMap(({ held }) =>
      [...held.values()].map((one) => one.leases),
    );
    return inFlight === 0 && router.state.tickets.size === 0 && leases.every((count) => count === 0);
  });
  return 'the slot is free';
}

/** The slot works again, for the next caller. */
export async function nextAnswered(faulty: Faulty): Promise<string> {
  await slotFree(faulty);
  faulty.engine.does('inference');
  await until(async () => (await faulty.ask('my-model@5')).status === 200);
  return 'the next one is answered';
}
