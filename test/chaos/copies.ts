// Weights as trainers make them, each in a directory of its own that nobody writes to again, and what they are known by. Bounded: the oldest go.
import { createHash } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOfDirectory } from '../../src/registry/disk.ts';
import { type CheckpointOptions, writeCheckpoint } from '../../src/sim/trainer.ts';
import type { Digests } from './books.ts';

export interface Copy {
  readonly path: string;
  readonly digests: Digests;
}

/** Small and quick to write, and whole. */
export const SIZE = { layers: 1, hidden: 16, rank: 4, logEvery: 1e9 } as const;

const COPIES_MAX = 100;

export class Copies {
  readonly #dir: string;
  /** By `model@step`; the newest last. */
  readonly #copies = new Map<string, Copy>();
  #made = 0;

  constructor(dir: string) {
    this.#dir = dir;
  }

  async make(name: string, options: Omit<CheckpointOptions, 'dir'>): Promise<Copy> {
    this.#made += 1;
    const path = await writeCheckpoint({ ...options, dir: join(this.#dir, String(this.#made)), ...SIZE });
    const bytes = await readFile(join(path, 'adapter_model.safetensors'));
    const spoken = createHash('sha256').update(bytes).digest('hex').slice(0, 8);
    const copy = { path, digests: { spoken, stored: (await digestOfDirectory(path)).digest } };
    // What is flawed is nobody's to copy.
    if (options.flaw === undefined) this.keep(name, copy);
    return copy;
  }

  /** The weights that this name stands for, as far as the plan knows. */
  of(name: string): Copy | undefined {
    return this.#copies.get(name);
  }

  keep(name: string, copy: Copy): void {
    this.#copies.delete(name);
    this.#copies.set(name, copy);
    const [oldest] = this.#copies;
    if (this.#copies.size <= COPIES_MAX || oldest === undefined) return;
    this.#copies.delete(oldest[0]);
    const isShared = [...this.#copies.values()].some(({ path }) => path === oldest[1].path);
    if (!isShared) void rm(oldest[1].path, { recursive: true, force: true });
  }
}
