// The names that engines are told. One promise: an AdapterId never stands for two different weights, for as long as the
// registry's database lives, because engines key their caches by it. Pure; it remembers every revision ever registered.
import { type AdapterId, as, type Checkpoint, type CheckpointName, type Digest } from '../domain.ts';

export class AdapterIds {
  /** Ids that are their checkpoint's name, which nearly all are: the digest alone says whose they are. */
  readonly #first = new Map<AdapterId, Digest>();
  readonly #later = new Map<AdapterId, { readonly name: CheckpointName; readonly digest: Digest }>();

  /** To be told of every revision that has an adapter, deleted and replaced ones too. */
  remember({ name, adapter }: Checkpoint): void {
    if (adapter === undefined) return;
    const { id, digest } = adapter;
    if ((id as string) === name) this.#first.set(id, digest);
    else this.#later.set(id, { name, digest });
  }

  /** The weights that an id was given to; undefined: none of ours. */
  digestOf(id: string): Digest | undefined {
    return this.#first.get(as<AdapterId>(id)) ?? this.#later.get(as<AdapterId>(id))?.digest;
  }

  /** `my-model@5` for the first weights of that name, `my-model@5-1a2b3c4d` for later ones; the same weights get the same id again. */
  idFor(name: CheckpointName, digest: Digest): AdapterId {
    for (const digits of [0, 8, 16, 64]) {
      const id = as<AdapterId>(digits === 0 ? name : `${name}-${digest.slice(0, digits)}`);
      const owner = this.digestOf(id);
      if (owner === undefined || (owner === digest && this.#ownerOf(id) === name)) return id;
    }
    throw new Error(`no adapter id is left for ${name}: all of its digest's prefixes are taken`);
  }

  #ownerOf(id: AdapterId): string {
    return this.#later.get(id)?.name ?? id;
  }
}
