// A gateway that starts engines of its own: a stand-in for vLLM that is the simulated engine behind vLLM's command line. What a test leaves
// running is ended after it.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterEach } from 'vitest';
import { processOf } from '../../src/engines/processes.ts';
import { type House, type SetUp, setUp, until } from '../gateway/harness.ts';

export const VLLM_LIKE = [process.execPath, fileURLToPath(new URL('./vllm-like.js', import.meta.url)), 'serve'];

const houses: House[] = [];
afterEach(async () => {
  for (const house of houses.splice(0))
    for (const { row } of house.running.engines.all())
      await house.running.engines.down(row.name, { who: 'a test', force: true });
});

export async function engineHouse(more: SetUp = {}): Promise<House> {
  const config = { engines: { command: VLLM_LIKE }, ...more.config };
  const house = await setUp({ engines: [], latest: 'published', ...more, config });
  houses.push(house);
  return house;
}

/** The same data, another gateway; the engines of the first one go on. */
export async function reopened(house: House): Promise<House> {
  const next = await house.restart();
  houses.splice(houses.indexOf(house), 1, next);
  return next;
}

export interface EngineView {
  readonly name: string;
  readonly state: string;
  readonly about: string | null;
  readonly pid: number | null;
  readonly restarts: number;
  readonly url: string;
  readonly log: string;
  readonly lines: readonly string[];
}

export const engineOf = async (house: House, name = 'mine') =>
  (await house.admin('GET', `/engines/${name}`)).body as EngineView;

export const upAsk = (house: House, more: Record<string, unknown> = {}) =>
  house.admin('POST', '/engines', { name: 'mine', checkpoint: 'my-model@1', ...more });

/** Resolves with what it is when it starts no more. */
export async function settled(house: House, name = 'mine'): Promise<EngineView> {
  await until(async () => (await engineOf(house, name)).state !== 'starting', 12_000);
  return engineOf(house, name);
}

export async function up(house: House, more: Record<string, unknown> = {}): Promise<EngineView & { pid: number }> {
  const asked = await upAsk(house, { port: await freePort(), ...more });
  if (asked.status !== 202) throw new Error(JSON.stringify(asked));
  const engine = await settled(house, (asked.body as EngineView).name);
  const { pid } = engine;
  if (engine.state !== 'up' || pid === null) throw new Error(JSON.stringify(engine));
  return { ...engine, pid };
}

export const lives = (pid: number): boolean => processOf(pid) !== undefined;

/** Its own and those of its children, by the session. */
export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

export function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

export const backendsOf = async (house: House) =>
  ((await house.admin('GET', '/backends')).body as { data: BackendView[] }).data;

interface BackendView {
  readonly name: string;
  readonly from: string;
  readonly state: string;
  readonly drain: unknown;
}

export async function houseWithStep(more: Parameters<typeof engineHouse>[0] = {}): Promise<House> {
  const house = await engineHouse(more);
  await house.write(1);
  return house;
}

/** The next gateway, on a database in which something was changed: so that it refuses what a disk would. */
export async function changed(house: House, sql: string): Promise<House> {
  await house.running.close({ now: true });
  const database = new DatabaseSync(join(house.home, 'data', 'registry.sqlite'));
  database.exec(sql);
  database.close();
  return reopened(house);
}

export const refusing = (phase: string) =>
  `CREATE TRIGGER refusing BEFORE INSERT ON engines WHEN NEW.phase = '${phase}' BEGIN SELECT RAISE(ABORT, 'no'); END`;
