// What forward.ts is given and what it tells: a request for one engine, and how it ended. Types alone.
import type { ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import type { ErrorCode } from '../errors.ts';
import type { Rewriter } from '../openai/echo.ts';
import type { UnknownModel } from './driver.ts';

export interface Forwarding {
  readonly dispatcher: Dispatcher;
  readonly method: string;
  readonly path: string;
  /** Ready to send: see headers.ts. */
  readonly headers: Record<string, string>;
  /** Pieces, sent in order; empty for no body. */
  readonly body: readonly Buffer[];
  /** What follows them, read as fast as the engine takes it. A StepgateError that it throws is how the request ends. */
  readonly rest?: AsyncIterable<Buffer> | undefined;
  /** Its headers may be sent already: a stream that was held with comments. Then an answer of any kind ends as events. */
  readonly response: ServerResponse;
  /** The gateway's own headers for the caller. */
  readonly responseHeaders: Record<string, string>;
  /** What becomes of the answer's bytes; undefined: they go through as they are. */
  readonly echo: Rewriter | undefined;
  /** It may be sent once more: then `missing` and `refused` are reported instead of answered. */
  readonly replayable: boolean;
  /** Which of the engine's errors say that it does not have the model; left out: none is looked at. */
  readonly unknownModel?: UnknownModel | undefined;
  /** Asked when the engine answers 429 or 503: whether it may be sent elsewhere instead of that answer being passed on. Left out: no. */
  readonly mayAskAnother?: (() => boolean) | undefined;
  /** The route's streams are typed events (`event:` lines). */
  readonly typedEvents: boolean;
  readonly deadlines: Deadlines;
}

export interface Deadlines {
  /** Until the first byte of the answer's body. An answer that is not streamed comes whole: give `wholeMs` there. */
  readonly firstTokenMs: number;
  /** Between chunks, while the caller is reading. */
  readonly betweenChunksMs: number;
  readonly wholeMs: number;
}

/** How it ended. Unless `done`, `left`, or `failed` with `started`, nothing was written and the response is still the caller's to use. */
export type ForwardEnd =
  /** The engine answered, whatever its status; the answer has been written. Of a stream that ended with an error, that error's. */
  | { readonly kind: 'done'; readonly status: number }
  /** The engine does not know the adapter. `gone`: nor will it when it is loaded again. */
  | { readonly kind: 'missing'; readonly message: string; readonly gone: boolean }
  /** No connection: nothing was sent. */
  | { readonly kind: 'refused'; readonly message: string }
  /** 429 or 503, and `mayAskAnother` said so. */
  | { readonly kind: 'busy' | 'unavailable'; readonly message: string }
  /** `started`: a part of the answer had reached the caller, and the response was ended as well as could be. */
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string; readonly started: boolean }
  /** The caller closed, or `abort` was called. */
  | { readonly kind: 'left' };
