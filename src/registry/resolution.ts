// What a name means: the catalog's answer, and what the config says of a model. Types and one constructor.
import type { BaseModel, BaseName, BestRule, Checkpoint, KeepRule, LatestPolicy } from '../domain.ts';
import type { ErrorCode } from '../errors.ts';
import type { Build } from './store.ts';

export type Refusal = { readonly kind: 'refused'; readonly code: ErrorCode; readonly message: string };

export type Resolution =
  /** `build`: the deployment through which a name leads there. */
  | { readonly kind: 'base'; readonly base: BaseModel; readonly build?: Build }
  | { readonly kind: 'checkpoint'; readonly checkpoint: Checkpoint; readonly build?: Build }
  | Refusal;

export const refuse = (code: ErrorCode, message: string): Refusal => ({ kind: 'refused', code, message });

export interface ModelSettings {
  readonly latest: LatestPolicy;
  readonly base?: BaseName | undefined;
  /** The directory in which its checkpoints are looked for. */
  readonly watch?: string | undefined;
  /** Undefined: the least `eval_loss`. */
  readonly best?: BestRule | undefined;
  /** Undefined: every checkpoint is kept. */
  readonly keep?: KeepRule | undefined;
}
