// The two doors that are compared: the engine itself, and a gateway with its defaults in front of that same engine.
// Both are given the same adapters by the same route, under the same names, one after the other; neither measures anything.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { stringify } from 'yaml';
import { parseConfig } from '../../src/config.ts';
import { start } from '../../src/serve.ts';
import type { Engine } from './engines.ts';

export interface Door {
  readonly url: string;
  /** Names of the engine's adapters, in their order. */
  readonly models: readonly string[];
  close(): Promise<void>;
}

const MODEL = 'starvation';

/** Callers speak to the engine. */
export async function straight(engine: Engine): Promise<Door> {
  await forget(engine);
  return { url: engine.url, models: await load(engine.url, engine), close: () => forget(engine) };
}

/** Callers speak to a gateway of this process. */
export async function stepgate(engine: Engine): Promise<Door> {
  await forget(engine);
  const data = await mkdtemp(join(tmpdir(), 'stepgate-bench-'));
  const backends = [{ name: 'gpu-0', url: engine.url }];
  const config = parseConfig(stringify({ listen: '127.0.0.1:0', admin: '127.0.0.1:0', data, backends }), {
    file: undefined,
  });
  const running = await start(config, { log: pino({ level: 'error' }, pino.destination(2)) });
  const close = async () => {
    await running.close({ now: true });
    await forget(engine);
    await rm(data, { recursive: true });
  };
  try {
    return { url: running.url, models: await load(running.url, engine), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function load(url: string, { adapters }: Engine): Promise<string[]> {
  const models = adapters.map((_, index) => `${MODEL}@${index + 1}`);
  for (const [index, lora_path] of adapters.entries())
    await post(`${url}/v1/load_lora_adapter`, { lora_name: models[index], lora_path });
  return models;
}

/** The engine knows none of our names any more, whoever loaded them. */
async function forget({ url }: Engine): Promise<void> {
  const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] };
  for (const { id } of data)
    if (id.startsWith(`${MODEL}@`)) await post(`${url}/v1/unload_lora_adapter`, { lora_name: id });
}

async function post(url: string, body: unknown): Promise<void> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`POST ${url}: ${response.status} ${text}`);
}
