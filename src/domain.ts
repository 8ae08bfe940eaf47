// The nouns, one word per concept, and their branded ids. No behaviour beyond `assertNever` and the brand's one door.
// Everything imports this file; this file imports nothing.

declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** A lineage of checkpoints: `my-model`. */
export type ModelName = Brand<string, 'ModelName'>;
/** What callers see of one checkpoint: `my-model@5`, or an exactly registered name. Unique among live checkpoints. */
export type CheckpointName = Brand<string, 'CheckpointName'>;
/** A base model's served name, as the engine lists it. */
export type BaseName = Brand<string, 'BaseName'>;
/** One engine server. */
export type BackendName = Brand<string, 'BackendName'>;
/** The immutable name that engines are told: never used for two different weights (`my-model@5`, `my-model@5-1a2b3c4d`). */
export type AdapterId = Brand<string, 'AdapterId'>;
/** UUID of one revision of one checkpoint. */
export type CheckpointId = Brand<string, 'CheckpointId'>;
/** SHA-256 of an adapter's files, 64 hex digits. */
export type Digest = Brand<string, 'Digest'>;
/** Who asks: requests of one tenant never crowd out another's. Told from the key that a request came with. */
export type TenantId = Brand<string, 'TenantId'>;
/** An evaluation over many checkpoints, announced or noticed. */
export type SweepId = Brand<string, 'SweepId'>;
/** Slots kept for somebody. */
export type ReservationId = Brand<string, 'ReservationId'>;
/** One waiting or running request. */
export type TicketId = Brand<number, 'TicketId'>;

/** The only place where a plain value becomes a branded one; call it where the value was checked. */
export const as = <B extends Brand<string | number, string>>(value: B extends number ? number : string): B =>
  value as B;

/** LoRA weights in the gateway's store, ready to be named to an engine. */
export interface Adapter {
  readonly id: AdapterId;
  /** Absolute directory inside the store, holding adapter_config.json and *.safetensors. */
  readonly path: string;
  readonly digest: Digest;
  readonly bytes: number;
  readonly rank: number;
}

/** What is loaded and asked for by name: the weights of one revision of one checkpoint. */
export interface Weights {
  readonly id: AdapterId;
  /** The directory of their files, absolute; undefined: none are here, and only services that find them by name serve them. */
  readonly path: string | undefined;
  readonly checkpoint: Pick<Checkpoint, 'id' | 'name' | 'model' | 'step'>;
}

export type CheckpointState =
  | { readonly kind: 'servable' }
  /** Known, but no engine would serve it, or it would serve it wrongly; `reasons` are sentences for people. */
  | { readonly kind: 'unservable'; readonly reasons: readonly string[] }
  | { readonly kind: 'deleted'; readonly atMs: number };

/** What is known of a checkpoint besides its weights: for people, for `best`, and for retention. */
export interface Details {
  /** Finite numbers by the trainer's own names (`loss`, `eval_loss`, ...), and those set by API. */
  readonly metrics: Readonly<Record<string, number>>;
  /** The model class that was trained (`LlamaForCausalLM`), where the files say. */
  readonly architecture: string | undefined;
  /** The library that wrote it and its version (`peft 0.17.1`, `transformers 5.2.0`), where the files say. */
  readonly library: string | undefined;
}

export const NO_DETAILS: Details = { metrics: {}, architecture: undefined, library: undefined };

/** One step of one model: the row that the registry keeps. `step` is undefined for an exactly registered name. */
export interface Checkpoint {
  readonly id: CheckpointId;
  readonly name: CheckpointName;
  readonly model: ModelName;
  readonly step: number | undefined;
  /** 1 for the first weights of this name, 2 after it was written again, ... */
  readonly revision: number;
  /** Undefined when unservable files were never taken into the store. */
  readonly adapter: Adapter | undefined;
  /** In the place of `adapter`: no files of it are here, and services that find it by its name serve it. */
  readonly hosted?: AdapterId | undefined;
  /** The base it needs; undefined means the fleet's only base. */
  readonly base: BaseName | undefined;
  /** Where the files came from (a trainer's directory), for people and for rescans. */
  readonly source: string;
  /** Unix time, ms. */
  readonly createdAtMs: number;
  readonly state: CheckpointState;
  readonly details: Details;
  /** Sentences for people: it is served, but perhaps not as was meant. */
  readonly warnings: readonly string[];
}

/** A base model as an engine serves it. */
export interface BaseModel {
  readonly name: BaseName;
  /** Tokens; undefined where the engine does not say. */
  readonly maxModelLen: number | undefined;
  /** What the engine was started with: a path or a hub's id. */
  readonly root?: string | undefined;
  /** No engine that serves it takes adapters, as one of a full model does not. */
  readonly isPlain?: true;
}

/** The one on which checkpoints are served that name none; undefined: there is none, or more than one. */
export function onlyBase(bases: readonly BaseModel[]): BaseModel | undefined {
  const others = bases.filter(({ isPlain }) => isPlain !== true);
  const [first, second] = others.length > 0 ? others : bases;
  return second === undefined ? first : undefined;
}

/** How `latest` moves: when a backend is warm, as soon as it is registered, or never (a bare name is an error). */
export type LatestPolicy = 'ready' | 'published' | 'error';

/** Which checkpoint `best` is: the one with the least or the greatest value of a metric. */
export interface BestRule {
  readonly metric: string;
  readonly direction: 'min' | 'max';
}

/** Which checkpoints retention keeps, besides those that are named, pinned or in use; one that any rule keeps stays. */
export interface KeepRule {
  /** The newest so many. */
  readonly last?: number | undefined;
  /** The best so many, by the model's `BestRule`. */
  readonly best?: number | undefined;
  /** Every step that is divisible by it. */
  readonly every?: number | undefined;
}

/** How a trainer lays out its directory; `auto`: told from what is in it. */
export type LayoutName = 'auto' | 'hf' | 'art' | 'prime-rl' | 'verl' | 'skyrl' | 'openrlhf' | 'torchtune' | 'adapter';

/** What a request is part of, the most urgent first: a person or agent waits for it, a training loop does, an evaluation does. */
export const CLASSES = ['interactive', 'rollout', 'eval'] as const;
export type RequestClass = (typeof CLASSES)[number];

/** What a key may be used for: to ask models, to register and delete checkpoints, to run the gateway. */
export const SCOPES = ['use', 'publish', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

/** Why a placement was decided; the shell counts it and tells the caller in `x-stepgate-why`. */
export type Why =
  /** The request is for a base: no adapter needed. */
  | 'base'
  /** A backend holds the adapter. */
  | 'resident'
  /** It was loaded into a free slot. */
  | 'room'
  /** It was loaded in place of the idle adapter that was least asked for lately. */
  | 'evict'
  /** It was loaded in place of one that was drained, because a request had waited its bound. */
  | 'drain'
  /** It was loaded again because the engine had forgotten it. */
  | 'reload'
  /** Loaded on one more backend, because those that hold it are far busier. */
  | 'replica'
  /** Loaded ahead of requests, because it is the newest checkpoint. */
  | 'publish'
  /** Loaded ahead of requests, because a sweep comes to it next. */
  | 'prefetch'
  /** Loaded ahead of requests, because a slot is reserved for it; or unloaded, because its slot is reserved for something else. */
  | 'reserved'
  /** Unloaded because its checkpoint was deleted or replaced. */
  | 'retired'
  /** Unloaded because an engine died of it. */
  | 'quarantine'
  /** Unloaded because the engine listed more adapters than it has slots for. */
  | 'surplus';

/** Undefined: it is not servable, and nothing of it was taken in. */
export function weightsOf(checkpoint: Checkpoint): Weights | undefined {
  const { adapter, hosted } = checkpoint;
  const id = adapter?.id ?? hosted;
  return id === undefined ? undefined : { id, path: adapter?.path, checkpoint };
}

export function assertNever(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}
