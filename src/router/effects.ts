// The router's one exit: what the shell must do, as data. Each carries its `why`; the shell logs and counts it, the core never does.
import type { AdapterId, BackendName, CheckpointId, ModelName, TicketId, Why } from '../domain.ts';
import type { ErrorCode } from '../errors.ts';

export type Effect =
  | { readonly type: 'dispatch'; readonly ticket: TicketId; readonly backend: BackendName; readonly why: Why }
  | { readonly type: 'load'; readonly backend: BackendName; readonly adapter: AdapterId; readonly why: Why }
  | { readonly type: 'unload'; readonly backend: BackendName; readonly adapter: AdapterId; readonly why: Why }
  /** `latest` of the model may move to this checkpoint: a backend is warm. */
  | { readonly type: 'promote'; readonly model: ModelName; readonly checkpoint: CheckpointId }
  | {
      readonly type: 'reject';
      readonly ticket: TicketId;
      readonly code: ErrorCode;
      readonly message: string;
      /** When it is worth another try, seconds; undefined: the code's own. */
      readonly retryAfterS?: number | undefined;
    }
  /** Requests showed how an engine fares (health.ts). `forMs`: how long it is ejected. */
  | {
      readonly type: 'standing';
      readonly backend: BackendName;
      readonly standing: 'whole' | 'ejected' | 'trial';
      readonly about: string;
      readonly forMs: number;
    }
  /** An adapter that engines die of (quarantine.ts): loaded nowhere, to be tried on one, or free. */
  | {
      readonly type: 'quarantine';
      readonly adapter: AdapterId;
      readonly phase: 'kept' | 'trial' | 'over';
      readonly about: string;
    }
  /** Send `tick` at this monotonic time, ms; replaces any earlier `wakeAt`. */
  | { readonly type: 'wakeAt'; readonly at: number };
