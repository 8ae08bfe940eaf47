// Where a harness is run: a scratch directory with the tasks, and either the gateway in front of the engine, or the engine itself with one
// adapter and no other. Starts and ends nothing but the gateway: the engine is setup.ts'.
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject, onTestFinished } from 'vitest';
import { EngineClient } from '../engine/client.ts';
import { type House, setUp, until } from '../gateway/harness.ts';
import { run } from './run.ts';

export const given = inject('given');
export const STEPS = given.checkpoints.map(([step]) => step);
export const nameOf = (step: number): string => `my-model@${step}`;

const engine = new EngineClient(given.url);

export interface Site {
  /** The current directory of what runs. */
  readonly dir: string;
  /** In the harnesses' virtual environment, or in another. */
  run(command: string, title: string, venv?: string): Promise<string>;
}

/** A fresh directory with `tasks/` in it. */
export async function openSite(): Promise<Site> {
  const dir = await mkdtemp(join(tmpdir(), 'stepgate-site-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  await cp(join(import.meta.dirname, 'tasks'), join(dir, 'tasks'), { recursive: true });
  return { dir, run: (command, title, venv = given.venv) => run(command, { cwd: dir, venv, title }) };
}

/** The gateway in front of the engine, with every step known and none loaded. */
export async function openGateway(): Promise<House> {
  await unloadAll();
  const house = await setUp({ urls: [given.url], runs: given.runs, latest: 'published' });
  await until(() => house.running.gateway.registry.catalog.servable().length === STEPS.length, 20_000);
  return house;
}

/** Straight at the engine, while it holds this step alone, under the name that the gateway gives it. */
export async function alone<T>(step: number, ask: (url: string) => Promise<T>): Promise<T> {
  await unloadAll();
  const path = given.checkpoints.find(([one]) => one === step)?.[1] ?? '';
  const { status, text } = await engine.load(nameOf(step), path);
  if (status !== 200) throw new Error(`${nameOf(step)}: ${text}`);
  return ask(given.url);
}

async function unloadAll(): Promise<void> {
  for (const { id, parent } of await engine.cards()) if (parent !== null) await engine.unload(String(id));
}
