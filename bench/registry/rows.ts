// A registry's database with as many checkpoints as a bench wants, written as registrations would leave it, in one commit.
// All stand for one adapter's files, which are empty: nobody may read them.
import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { as, type Checkpoint, type CheckpointId, type Digest } from '../../src/domain.ts';
import { Database } from '../../src/registry/database.ts';
import { ADAPTER_FILES } from '../../src/registry/inspect.ts';

export interface Rows {
  /** The gateway's data directory. */
  readonly data: string;
  readonly count: number;
  /** The first step. */
  readonly from?: number;
}

/** `my-model@from` and the steps after it. */
export async function fillRegistry({ data, count, from = 0 }: Rows): Promise<void> {
  const digest = as<Digest>('0'.repeat(64));
  const pathOf = () => join(data, 'adapters', digest);
  await mkdir(pathOf(), { recursive: true });
  for (const file of ADAPTER_FILES) await writeFile(join(pathOf(), file), '');
  const rows = new Database({ file: join(data, 'registry.sqlite'), pathOf });
  rows.commit(
    Array.from({ length: count }, (_, index) => {
      const step = from + index;
      const name = as<Checkpoint['name']>(`my-model@${step}`);
      const checkpoint: Checkpoint = {
        id: as<CheckpointId>(randomUUID()),
        name,
        model: as('my-model'),
        step,
        revision: 1,
        adapter: { id: as(name), path: pathOf(), digest, bytes: 40_000_000, rank: 16 },
        base: undefined,
        source: `/runs/my-model/checkpoint-${step}`,
        createdAtMs: Date.now(),
        state: { kind: 'servable' },
        details: {
          metrics: { loss: Math.random(), eval_loss: Math.random(), learning_rate: 1e-4, epoch: step / 100 },
          architecture: 'LlamaForCausalLM',
          library: 'peft 0.17.1',
        },
        warnings: [],
      };
      return { kind: 'added', checkpoint, sighting: { name, source: checkpoint.source, signature: '-' } } as const;
    }),
  );
  rows.close();
}
