// Directories as trainers write them, small enough for thousands, and what tests of the registry share.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import {
  type Adapter,
  as,
  type Checkpoint,
  type CheckpointId,
  type LayoutName,
  type ModelName,
  NO_DETAILS,
} from '../../src/domain.ts';
import { openRegular } from '../../src/registry/inspect.ts';
import { printName } from '../../src/registry/name.ts';
import { Original } from '../../src/registry/originals.ts';
import { Registry, type RegistryChange, type RegistryOptions } from '../../src/registry/registry.ts';
import type { ModelSettings } from '../../src/registry/resolution.ts';

/** A directory that is removed when the test ends. */
export function scratch(): string {
  const dir = mkdtempSync(join(tmpdir(), 'stepgate-registry-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export const CONFIG = {
  peft_type: 'LORA',
  r: 4,
  lora_alpha: 8,
  target_modules: ['q_proj'],
  bias: 'none',
  use_dora: false,
  modules_to_save: null,
  rank_pattern: {},
  alpha_pattern: {},
  base_model_name_or_path: 'base',
};

/** The LoRA pair of one module, of rank 4; another seed is another content of the same size. */
export function safetensors(seed: number): Buffer {
  const data = Buffer.from(Float32Array.from({ length: 8 }, (_, index) => seed + index).buffer);
  const pair = {
    'q_proj.lora_A.weight': { dtype: 'F32', shape: [4, 1], data_offsets: [0, 16] },
    'q_proj.lora_B.weight': { dtype: 'F32', shape: [1, 4], data_offsets: [16, 32] },
  };
  return withHeader(pair, data);
}

export function withHeader(header: unknown, data: Buffer): Buffer {
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, data]);
}

/** A file as it is read; closed when the test ends. */
export async function original(path: string): Promise<Original> {
  const file = await Original.read((await openRegular(path)) ?? expect.fail(`no file ${path}`));
  onTestFinished(() => file.close());
  return file;
}

export interface Written {
  readonly seed?: number;
  readonly config?: unknown;
  /** Without it the trainer has not said that it is finished. */
  readonly marker?: boolean;
}

/** A whole checkpoint directory; returns its path. */
export function writeCheckpoint(dir: string, { seed = 1, config = CONFIG, marker = true }: Written = {}): string {
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'adapter_model.safetensors'), safetensors(seed));
  writeFileSync(join(dir, 'adapter_config.json'), JSON.stringify(config));
  writeFileSync(join(dir, 'optimizer.pt'), 'not for engines');
  if (marker) writeFileSync(join(dir, 'trainer_state.json'), '{"global_step": 1, "log_history": [{"loss": NaN}]}');
  return dir;
}

const DEADLINE_MS = 8_000;

/** Resolves with the first defined value that `look` returns. */
export async function until<T>(what: string, look: () => T | undefined | false): Promise<T> {
  const deadlineMs = performance.now() + DEADLINE_MS;
  for (;;) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadlineMs) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export interface Opened {
  readonly registry: Registry;
  /** What came, went and changed. */
  readonly changes: Exclude<RegistryChange, { kind: 'moved' }>[];
  /** Which names led elsewhere, as `latest -> m@5`. */
  readonly moves: string[];
  readonly problems: string[];
}

/** A registry that is closed when the test ends. `models` maps a model to its settings. */
export async function openRegistry(
  dataDir: string,
  {
    models = {},
    ...more
  }: Partial<Omit<RegistryOptions, 'models'>> & {
    models?: Record<string, Partial<ModelSettings> & { layout?: LayoutName }>;
  } = {},
): Promise<Opened> {
  const changes: Opened['changes'] = [];
  const moves: string[] = [];
  const problems: string[] = [];
  const registry = await Registry.open({
    dataDir,
    roots: [],
    models: new Map(
      Object.entries(models).map(([name, model]) => [as<ModelName>(name), { latest: 'ready' as const, ...model }]),
    ),
    rescanMs: 100,
    settleMs: 50,
    nowMs: Date.now,
    onChange: (change) => {
      if (change.kind === 'moved') moves.push(`${change.alias} -> ${change.checkpoint?.name}`);
      else changes.push(change);
    },
    onProblem: (about) => problems.push(about),
    ...more,
  });
  onTestFinished(() => registry.close());
  return { registry, changes, moves, problems };
}

/** A checkpoint as the registry would hold it, without files. */
export function checkpoint(model: string, step: number | undefined, more: Partial<Checkpoint> = {}): Checkpoint {
  const name = step === undefined ? model : printName({ kind: 'step', model, step });
  const adapter: Adapter = { id: as(name), path: `/store/${name}`, digest: as('00'), bytes: 1, rank: 4 };
  return {
    id: as<CheckpointId>(`id of ${name} ${more.revision ?? 1}`),
    name: as(name),
    model: as(model),
    step,
    revision: 1,
    adapter,
    base: undefined,
    source: '/runs',
    createdAtMs: 0,
    state: { kind: 'servable' },
    details: NO_DETAILS,
    warnings: [],
    ...more,
  };
}

/** No engine serves it. */
export const DORA = { ...CONFIG, use_dora: true };
export const adapters = (dataDir: string) => readdirSync(join(dataDir, 'adapters'));
export const weightsOf = (one: Checkpoint) =>
  readFileSync(join(one.adapter?.path ?? expect.fail('no adapter'), 'adapter_model.safetensors'));

/** What a name leads to, in one word. */
export function answer(registry: Registry, name: string): string {
  const resolution = registry.catalog.resolve(name);
  return resolution.kind === 'refused'
    ? resolution.code
    : resolution.kind === 'base'
      ? resolution.base.name
      : resolution.checkpoint.name;
}
