// The names that engines are told. One promise: an AdapterId never stands for two different weights, for as long as the
// registry's database lives, because engines key their caches by it. Pure; it remembers every revision ever registered.
import { type AdapterId, as, type Checkpoint, type CheckpointName, type Digest } from '../domain.ts';

export class AdapterIds {
  readonly #owners = new Map<AdapterId, { readonly name: CheckpointName; readonly digest: Digest }>();

  /** To be told of every revision that has an adapter, deleted and replaced ones too. */
  remember(checkpoint: Checkpoint): void {
    if (checkpoint.adapter) {
      this.#owners.set(checkpoint.adapter.id, { name: checkpoint.name, digest: checkpoint.adapter.digest });
    }
  }

  /** `my-model@5` for the first weights of that name, `my-model@5-1a2b3c4d` for later ones; the same weights get the same id again. */
  idFor(name: CheckpointName, digest: Digest): AdapterId {
    for (const digits of [0, 8, 16, 64]) {
      const id = as<AdapterId>(digits === 0 ? name : `${name}-${digest.slice(0, digits)}`);
      const owner = this.#owners.get(id);
      if (!owner || (owner.name === name && owner.digest === digest)) return id;
    }
    throw new Error(`no adapter id is left for ${name}: all of its digest's prefixes are taken`);
  }
}
