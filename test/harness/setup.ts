// Once for the whole suite: installs the harnesses, starts the engine that they are run against, and makes what they need to run offline.
// STEPGATE_TEST_ENGINE is `vllm` (default: the real one, two slots) or `sim` (the simulated one: a slice of it, in a minute).
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { TestProject } from 'vitest/node';
import { startSim } from '../../src/sim/sim.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { startVllm } from '../vllm/engine.ts';
import { run, say } from './run.ts';

/** What every test of the suite is given: plain data, as it goes to other processes. */
export interface Given {
  readonly engine: 'vllm' | 'sim';
  readonly url: string;
  /** A trainer's output directory in HF layout. */
  readonly runs: string;
  /** Step and directory of each checkpoint in it. */
  readonly checkpoints: readonly (readonly [step: number, path: string])[];
  readonly venv: string;
  readonly artVenv: string;
  /** A tokenizer's directory, for harnesses that ask by token ids. */
  readonly tokenizer: string;
}

declare module 'vitest' {
  export interface ProvidedContext {
    given: Given;
  }
}

const HERE = import.meta.dirname;
const HOME = join(HERE, '../../.harness');
const SLOTS = 2;
const INSTALL_MS = 1_200_000;
/**
 * Harnesses ask for the log probabilities of prompts. vLLM 0.32 dies of that (its CPU build) where its output layer has LoRA too; so it is told which
 * layers have: docs/evaluations.md.
 */
const FLAGS = ['--lora-target-modules', ...'q_proj k_proj v_proj o_proj gate_proj up_proj down_proj'.split(' ')];
const STEPS = [10, 20, 30, 40, 50, 60];

type Engine = Pick<Given, 'engine' | 'url' | 'runs' | 'checkpoints'> & { readonly close: () => Promise<unknown> };

let engine: Engine | undefined;

export async function setup(project: TestProject): Promise<void> {
  const tokenizer = join(HOME, 'tokenizer');
  await mkdir(HOME, { recursive: true });
  const venv = await install(process.env.HARNESS_VENV ?? join(HOME, 'venv'), 'requirements.txt');
  const artVenv = await install(process.env.HARNESS_ART_VENV ?? join(HOME, 'art'), 'requirements-art.txt');
  const script = join(HERE, '../vllm/make_tokenizer.py');
  await run(`python '${script}' '${tokenizer}'`, { cwd: HOME, venv, title: 'tokenizer' });
  engine = await (process.env.STEPGATE_TEST_ENGINE === 'sim' ? simulated() : real());
  const { close: _, ...shown } = engine;
  project.provide('given', { ...shown, venv, artVenv, tokenizer });
}

/** @returns the virtual environment's absolute path */
async function install(dir: string, requirements: string): Promise<string> {
  const venv = resolve(dir);
  const file = join(HERE, requirements);
  say(`${requirements}: installing, where that was not done yet (a minute or two)`);
  const about = { cwd: HOME, venv, title: requirements, timeoutMs: INSTALL_MS };
  await run(`bash '${join(HERE, 'install.sh')}' '${venv}' '${file}'`, about);
  return venv;
}

export const teardown = async (): Promise<void> => void (await engine?.close());

async function real(): Promise<Engine> {
  const { url, runs, checkpoints, close } = await startVllm({ slots: SLOTS, flags: FLAGS });
  return { engine: 'vllm', url, runs, checkpoints: [...checkpoints], close };
}

async function simulated(): Promise<Engine> {
  const runs = await mkdtemp(join(tmpdir(), 'stepgate-harness-'));
  const paths = await Promise.all(STEPS.map((step) => writeCheckpoint({ dir: runs, step })));
  const sim = await startSim({ maxLoras: SLOTS, loadMs: 50, firstTokenMs: 2, tokenMs: 1 });
  const close = async () => {
    await sim.close();
    await rm(runs, { recursive: true });
  };
  return {
    engine: 'sim',
    url: sim.url,
    runs,
    checkpoints: STEPS.map((step, i) => [step, paths[i] ?? ''] as const),
    close,
  };
}
