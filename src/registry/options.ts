// What the registry is given, what it is asked, and what it tells. Types only.
import type { BaseName, Checkpoint, LatestPolicy, ModelName } from '../domain.ts';

export interface RegistryOptions {
  readonly dataDir: string;
  /** Absolute directories that checkpoints may be registered from; empty: any. Watched directories are always allowed. */
  readonly roots: readonly string[];
  readonly models: ReadonlyMap<
    ModelName,
    { readonly base?: BaseName | undefined; readonly watch?: string | undefined; readonly latest: LatestPolicy }
  >;
  readonly rescanMs: number;
  readonly settleMs: number;
  /** Unix time, ms. */
  readonly nowMs: () => number;
  /** Called when the change is durable and in the catalog; must not throw. */
  readonly onChange: (change: RegistryChange) => void;
  /** Sentences for people, of what discovery could not take. */
  readonly onProblem: (about: string) => void;
}

/** `replaced`: the live revision that had the name until now, where engines are to let go of its adapter. */
export type RegistryChange =
  | { readonly kind: 'registered'; readonly checkpoint: Checkpoint; readonly replaced: Checkpoint | undefined }
  | { readonly kind: 'unservable'; readonly checkpoint: Checkpoint; readonly replaced: Checkpoint | undefined }
  | { readonly kind: 'deleted'; readonly checkpoint: Checkpoint };

export interface RegisterRequest {
  /** `my-model@5`, or an exact name. */
  readonly name: string;
  /** The directory of adapter_config.json: absolute, or relative to one of the roots. */
  readonly path: string;
  readonly base?: string;
}
