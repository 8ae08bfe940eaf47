// The seam of persistence: what must survive, as data, and the one door through which it is written. Types only; database.ts is the first
// to satisfy it, and test/registry/store-conformance.ts says what every one must promise.
import type {
  BackendName,
  Checkpoint,
  CheckpointId,
  CheckpointName,
  Details,
  ModelName,
  RequestClass,
  Scope,
} from '../domain.ts';

/** Files that were taken (or judged) under a name: discovery does not bring the same ones again. */
export interface Sighting {
  readonly name: CheckpointName;
  /** The directory that they were found in. */
  readonly source: string;
  readonly signature: string;
}

/** A name that somebody moves by hand: `my-model@champion`. */
export interface Alias {
  readonly model: ModelName;
  readonly alias: string;
  readonly step: number;
  /** Unix time, ms. */
  readonly movedAtMs: number;
  /** Who moved it, in a word or two. */
  readonly by: string;
}

/** One line of the history of a model's names: an alias, `latest` or `best` led elsewhere from then on. */
export interface Move {
  readonly model: ModelName;
  readonly alias: string;
  /** Steps; undefined: it led nowhere. */
  readonly from: number | undefined;
  readonly to: number | undefined;
  /** Unix time, ms. */
  readonly atMs: number;
  readonly by: string;
}

/** Steps that are not deleted while it lasts. */
export interface Pin {
  readonly id: string;
  readonly model: ModelName;
  /** The range, both ends included; steps that come into being later count too. */
  readonly from: number;
  readonly to: number;
  /** Of that range these alone, ascending; undefined: all. */
  readonly steps: readonly number[] | undefined;
  readonly owner: string;
  /** Unix time, ms. */
  readonly createdAtMs: number;
  /** Unix time, ms; undefined: until it is removed. */
  readonly untilMs: number | undefined;
}

/** Slots of engines that are kept for somebody, as it was asked for; src/reservations.ts says what it comes to. */
export interface ReservationRow {
  readonly id: string;
  readonly kind: 'checkpoint' | 'model' | 'latest' | 'class';
  /** Of the checkpoint (also a name that moves, such as `my-model@champion`), the model or the class. */
  readonly name: string;
  readonly slots: number;
  readonly owner: string;
  /** Unix time, ms. */
  readonly createdAtMs: number;
  /** Unix time, ms; undefined: until it is removed. */
  readonly untilMs: number | undefined;
}

export type ReservationChange =
  | { readonly kind: 'reserved'; readonly reservation: ReservationRow }
  | { readonly kind: 'released'; readonly id: string };

/** What of the store the reservations need. */
export interface ReservationRows {
  reservations(): readonly ReservationRow[];
  commit(changes: readonly ReservationChange[]): void;
}

/** A backend that nothing new goes to until it is taken back; src/cordons.ts says what it comes to. */
export interface CordonRow {
  readonly backend: BackendName;
  readonly who: string;
  /** Unix time, ms. */
  readonly sinceMs: number;
}

export type CordonChange =
  | { readonly kind: 'cordoned'; readonly cordon: CordonRow }
  | { readonly kind: 'uncordoned'; readonly backend: BackendName };

/** What of the store the cordons need. */
export interface CordonRows {
  cordons(): readonly CordonRow[];
  commit(changes: readonly CordonChange[]): void;
}

/** A backend that was added beside those of the config; src/joined.ts says what it comes to. */
export interface BackendRow {
  readonly name: BackendName;
  /** The rest of it, as the config would have it; JSON. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly who: string;
  /** Unix time, ms. */
  readonly sinceMs: number;
}

/** An engine that the gateway started, and its process; src/engines/ says what it comes to. */
export interface EngineRow {
  readonly name: BackendName;
  /** `serving`: it was ready once. `failed`: given up. `stopping`: to be ended, whatever happens. */
  readonly phase: 'starting' | 'serving' | 'failed' | 'stopping';
  /** How it is started; JSON. */
  readonly spec: Readonly<Record<string, unknown>>;
  /** `born`: when it began, in words that no other process of this number shares. Undefined: none was started yet. */
  readonly process: { readonly pid: number; readonly born: string } | undefined;
  /** Why it was given up; undefined: it was not. */
  readonly about: string | undefined;
  readonly who: string;
  /** Unix time, ms. */
  readonly createdAtMs: number;
}

export type BackendChange =
  | { readonly kind: 'backendAdded'; readonly backend: BackendRow }
  | { readonly kind: 'backendRemoved'; readonly name: BackendName }
  /** New, or another row of the same name. */
  | { readonly kind: 'engineChanged'; readonly engine: EngineRow }
  | { readonly kind: 'engineGone'; readonly name: BackendName };

/** What of the store the backends beside the config's need, and the engines that the gateway started. */
export interface BackendRows {
  backends(): readonly BackendRow[];
  engines(): readonly EngineRow[];
  commit(changes: readonly BackendChange[]): void;
}

/** One state of a deployment: where its name leads, and how it is asked there. It never changes: each change is the next build. */
export interface Build {
  readonly deployment: string;
  /** 1, 2, 3, ... */
  readonly build: number;
  /** A base or a checkpoint, also by a name that moves. */
  readonly target: string;
  /** By the names of Hugging Face's GenerationConfig, as they were given; src/deployments/generation.ts says what they come to. */
  readonly generation: Readonly<Record<string, unknown>>;
  /** Undefined: a prompt goes as it is. */
  readonly template: string | undefined;
  /** Its prompts are messages to a chat, not texts to be completed. */
  readonly chat: boolean;
  /** Unix time, ms. */
  readonly createdAtMs: number;
  readonly by: string;
  /** The build that it is a copy of. */
  readonly copyOf: number | undefined;
}

export type DeploymentChange =
  /** Of its deployment at most `keep` builds stay, the newest. */
  | { readonly kind: 'built'; readonly build: Build; readonly keep: number }
  | { readonly kind: 'undeployed'; readonly deployment: string };

/** What of the store the deployments need. */
export interface DeploymentRows {
  deployments(): readonly Build[];
  builds(deployment: string): readonly Build[];
  commit(changes: readonly DeploymentChange[]): void;
}

/** A key by which callers are known, without its secret; src/access/ says what it comes to. */
export interface KeyRow {
  /** The part of the key that is no secret. */
  readonly id: string;
  /** Whose it is, or what for. */
  readonly name: string;
  /** SHA-256 of the secret, 64 hex digits. */
  readonly digest: string;
  /** The secret before the last rotation, while it still counts. */
  readonly previous: { readonly digest: string; readonly untilMs: number } | undefined;
  readonly scopes: readonly Scope[];
  /** Patterns of the models that it may use and publish: `my-model`, `team-*`, `*`. */
  readonly models: readonly string[];
  /** Undefined: any. */
  readonly class: RequestClass | undefined;
  /** Requests for models per minute; undefined: as many as come. */
  readonly perMinute: number | undefined;
  /** Requests for models at once; undefined: as many as come. */
  readonly concurrentMax: number | undefined;
  /** Unix time, ms. */
  readonly createdAtMs: number;
  /** Unix time, ms; undefined: until it is revoked. */
  readonly untilMs: number | undefined;
  /** Unix time, ms; undefined: it was not revoked. */
  readonly revokedAtMs: number | undefined;
}

/** One action on the admin listener, or by a signal, as it went. */
export interface AuditEntry {
  /** Unix time, ms. */
  readonly atMs: number;
  /** The key's id and name, or that there was none; or the signal. */
  readonly who: string;
  /** Of the request; SIGNAL where there was none. */
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** JSON texts; undefined: there was nothing, or nothing is known. */
  readonly before: string | undefined;
  readonly after: string | undefined;
}

export type AuditRow = AuditEntry & { readonly id: number };

export type AccessChange =
  /** In place of the row with this id, if any. Rows of keys stay, also of those that were revoked. */
  | { readonly kind: 'keyed'; readonly key: KeyRow }
  /** Appended with the next id; at most `keep` entries stay, the newest. */
  | { readonly kind: 'audited'; readonly entry: AuditEntry; readonly keep: number };

/** What of the store src/access/ needs. */
export interface AccessRows {
  keys(): readonly KeyRow[];
  audit(page: { readonly limit: number; readonly before?: number | undefined }): readonly AuditRow[];
  commit(changes: readonly AccessChange[]): void;
}

/** What the gateway's other rooms write down beside the registry's own. */
export type OthersRows = ReservationRows & CordonRows & BackendRows & DeploymentRows & AccessRows;

export type Change =
  | ReservationChange
  | CordonChange
  | BackendChange
  | AccessChange
  | DeploymentChange
  | { readonly kind: 'added'; readonly checkpoint: Checkpoint; readonly sighting: Sighting }
  /** The name's files of `sighting.source` now have this signature; nothing else changed. */
  | { readonly kind: 'seen'; readonly sighting: Sighting }
  | { readonly kind: 'deleted'; readonly id: CheckpointId; readonly atMs: number }
  | { readonly kind: 'detailed'; readonly id: CheckpointId; readonly details: Details }
  /** Where `latest` was promoted to. */
  | { readonly kind: 'promoted'; readonly model: ModelName; readonly checkpoint: CheckpointId }
  | { readonly kind: 'aliased'; readonly alias: Alias }
  | { readonly kind: 'unaliased'; readonly model: ModelName; readonly alias: string }
  | { readonly kind: 'moved'; readonly move: Move }
  | { readonly kind: 'pinned'; readonly pin: Pin }
  | { readonly kind: 'unpinned'; readonly id: string };

export interface Store {
  /** Every revision, in the order in which they were added. */
  checkpoints(): readonly Checkpoint[];
  /** Where `latest` was last promoted to. */
  promoted(): ReadonlyMap<ModelName, CheckpointId>;
  aliases(): readonly Alias[];
  pins(): readonly Pin[];
  reservations(): readonly ReservationRow[];
  /** By backend. */
  cordons(): readonly CordonRow[];
  /** In the order in which they were added. */
  backends(): readonly BackendRow[];
  /** In the order in which they were created. */
  engines(): readonly EngineRow[];
  /** The newest build of each, by name. */
  deployments(): readonly Build[];
  /** Newest first. */
  builds(deployment: string): readonly Build[];
  /** In the order in which they were created. */
  keys(): readonly KeyRow[];
  /** Newest first; with `before`, those with smaller ids. */
  audit(page: { readonly limit: number; readonly before?: number | undefined }): readonly AuditRow[];
  /** Newest first. */
  history(model: ModelName, limit: number): readonly Move[];
  /** The signature last seen, if any. */
  seen(name: CheckpointName, source: string): string | undefined;
  /** All of them, in order, or none; durable when it returns. Errors: storage_full. */
  commit(changes: readonly Change[]): void;
  /** Idempotent. */
  close(): void;
}
