// What the registry is given, what it is asked, and what it tells. Types only.
import type { AdapterId, Checkpoint, ModelName } from '../domain.ts';
import type { WatchedModel } from './watchers.ts';

/** What may change while it runs. */
export interface RegistrySettings {
  /** Absolute directories that checkpoints may be registered from; empty: any. Watched directories are always allowed. */
  readonly roots: readonly string[];
  readonly models: ReadonlyMap<ModelName, WatchedModel>;
  /** Undefined: no limit. */
  readonly storeBytesMax?: number | undefined;
  readonly rescanMs: number;
  readonly settleMs: number;
}

export interface RegistryOptions extends RegistrySettings {
  readonly dataDir: string;
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
  | { readonly kind: 'deleted'; readonly checkpoint: Checkpoint }
  /** Its metrics changed. */
  | { readonly kind: 'patched'; readonly checkpoint: Checkpoint }
  /** An alias, `latest` or `best` leads to `checkpoint` from now on; undefined: nowhere. */
  | {
      readonly kind: 'moved';
      readonly model: ModelName;
      readonly alias: string;
      readonly checkpoint: Checkpoint | undefined;
      readonly by: string;
    };

export interface RegisterRequest {
  /** `my-model@5`, or an exact name. */
  readonly name: string;
  /** The directory of adapter_config.json: absolute, or relative to one of the roots. */
  readonly path: string;
  /** What is written down as the checkpoint's source, where its files were fetched from elsewhere. Left out: the directory. */
  readonly source?: string;
  readonly base?: string;
  /** false: `conflict` where the name has other live weights, instead of a new revision. Default: true. */
  readonly replace?: boolean;
}

/** A checkpoint that a service has under its name; no files of it are here. */
export interface HostedRequest {
  readonly name: string;
  readonly base?: string;
}

export interface AliasMove {
  readonly model: string;
  readonly alias: string;
  /** A step; undefined removes the alias. */
  readonly to: number | undefined;
  /** The step that it must point to now, null where it must not be set; left out: whatever it points to. */
  readonly expect?: number | null;
  readonly who: string;
}

export interface PinRequest {
  readonly model: string;
  readonly steps: readonly number[] | { readonly from: number; readonly to: number };
  readonly owner: string;
  /** Undefined: until it is removed. */
  readonly ttlMs: number | undefined;
}

export interface RetainOptions {
  /** Only say what would be done. */
  readonly dryRun: boolean;
  readonly who: string;
  /** Requests wait for this adapter, or run on it. */
  readonly leased: (adapter: AdapterId) => boolean;
}
