// Model cards of GET /v1/models: the engine's own shape (vLLM's ModelCard), so that its clients read them unchanged, plus the step.
import type { BaseModel, Checkpoint } from '../domain.ts';

export interface ModelCard {
  readonly id: string;
  readonly object: 'model';
  /** Unix seconds. */
  readonly created: number;
  readonly owned_by: 'stepgate';
  readonly root: string;
  /** The base's name; null for a base. */
  readonly parent: string | null;
  /** Tokens; null only while no engine has said. */
  readonly max_model_len: number | null;
  readonly permission: readonly [];
  readonly step: number | null;
}

export function baseCard(base: BaseModel, startedAtMs: number): ModelCard {
  return {
    id: base.name,
    object: 'model',
    created: Math.floor(startedAtMs / 1000),
    owned_by: 'stepgate',
    root: base.name,
    parent: null,
    max_model_len: base.maxModelLen ?? null,
    permission: [],
    step: null,
  };
}

/** `base` is the one it is served on; undefined while no engine with it has been seen. */
export function checkpointCard(checkpoint: Checkpoint, base: BaseModel | undefined): ModelCard {
  return {
    id: checkpoint.name,
    object: 'model',
    created: Math.floor(checkpoint.createdAtMs / 1000),
    owned_by: 'stepgate',
    root: checkpoint.name,
    parent: base?.name ?? checkpoint.base ?? null,
    max_model_len: base?.maxModelLen ?? null,
    permission: [],
    step: checkpoint.step ?? null,
  };
}

/** `target`: the card of what the deployment leads to now. */
export const deploymentCard = (name: string, createdAtMs: number, target: ModelCard): ModelCard => ({
  ...target,
  id: name,
  created: Math.floor(createdAtMs / 1000),
});
