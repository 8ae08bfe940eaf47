// How much the adapter store holds, and whether more fits: the room that is taken, and the room promised to what is being copied.
// Pure accounting. Nothing that can be asked for is ever dropped to make room: when the budget is spent, registration is refused.
import type { Checkpoint, Digest } from '../domain.ts';
import { StepgateError } from '../errors.ts';

export class StoreBudget {
  /** undefined: as large as the disk. */
  bytesMax: number | undefined;
  readonly #contents = new Map<Digest, number>();
  #bytes = 0;
  #promised = 0;

  constructor(bytesMax: number | undefined) {
    this.bytesMax = bytesMax;
  }

  /** Of everything kept; not of what is being copied. */
  get bytes(): number {
    return this.#bytes;
  }

  get contents(): ReadonlyMap<Digest, number> {
    return this.#contents;
  }

  keep(digest: Digest, bytes: number): void {
    this.drop(digest);
    this.#contents.set(digest, bytes);
    this.#bytes += bytes;
  }

  drop(digest: Digest): void {
    this.#bytes -= this.#contents.get(digest) ?? 0;
    this.#contents.delete(digest);
  }

  /** Sets `bytes` aside until the returned function is called. Throws storage_full, with what to do, where they do not fit. */
  promise(bytes: number, source: string): () => void {
    const wanted = this.#bytes + this.#promised + bytes;
    if (this.bytesMax !== undefined && wanted > this.bytesMax) {
      throw new StepgateError(
        'storage_full',
        `The adapter store holds ${inMegabytes(this.#bytes + this.#promised)} of the ${inMegabytes(this.bytesMax)} that \`store.bytesMax\` allows, and ${source} needs ${inMegabytes(bytes)}: it was not taken. Delete steps, set \`models.NAME.keep\` so that old ones go by themselves, or raise \`store.bytesMax\`. Files of deleted steps are freed when no engine can still read them.`,
      );
    }
    this.#promised += bytes;
    let kept = true;
    return () => {
      if (kept) this.#promised -= bytes;
      kept = false;
    };
  }
}

/** The content that live checkpoints stand for; everything else may go. Of each name only its current revision is to be given. */
export function neededBy(checkpoints: Iterable<Checkpoint>): Set<Digest> {
  const needed = new Set<Digest>();
  for (const { adapter, state } of checkpoints)
    if (adapter !== undefined && state.kind !== 'deleted') needed.add(adapter.digest);
  return needed;
}

const inMegabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 0)} MB`;
