// Sends one request to one engine and streams the answer into the caller's response. The one file that owns streaming:
// flushing, backpressure, deadlines, the caller's leaving, and what a broken stream ends with. It must not choose, retry or log.
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { type ErrorCode, StepgateError } from '../errors.ts';
import type { Rewriter } from '../openai/echo.ts';
import { engineError } from '../openai/engine-error.ts';
import { errorBody } from '../openai/error-body.ts';
import { errorEvent } from '../openai/sse.ts';
import { GAVE_UP, isGivenUp, streamedError } from './answers.ts';
import { deadlineIn, join, leave } from './deadlines.ts';
import type { ForwardEnd, Forwarding } from './forwarding.ts';
import { isEncoded, responseHeaders } from './headers.ts';
import { closedWhenReused } from './pool.ts';

/** An error answer is read whole up to this size where it must be understood before it is passed on. */
const COLLECT_BYTES_MAX = 64 * 1024;

/**
 * A request that went into a connection which the engine was closing for idleness is sent again: the close comes at once and nothing before
 * it. To ask twice changes nothing in an engine; but later, it may be the request that ended the engine.
 */
const STALE = { withinMs: 100, timesMax: 5 };

/**
 * Calls `onEnd` exactly once, and not before it has returned. `abort` closes the engine's request at once and ends it as
 * `left`, leaving the response as it is.
 */
export function forward(request: Forwarding, onEnd: (end: ForwardEnd) => void): Running {
  const transfer = new Transfer(request, onEnd);
  transfer.start();
  return transfer;
}

export interface Running {
  abort(): void;
  /** Ends it as `failed`, with this error: nobody at either end is at fault. */
  stop(code: ErrorCode, message: string): void;
}

/** `idle`: nothing has come. `pass`: bytes go through. `collect`: an error answer is gathered, to be understood first. */
type Phase = 'idle' | 'pass' | 'collect' | 'over';

class Transfer implements Dispatcher.DispatchHandler, Running {
  place = -1;
  readonly #request: Forwarding;
  readonly #response: ServerResponse;
  readonly #onEnd: (end: ForwardEnd) => void;
  readonly #echo: Rewriter | undefined;
  readonly #held: boolean;
  readonly #wholeAt: number;
  #dueAt: number;
  #phase: Phase = 'idle';
  #controller: Dispatcher.DispatchController | undefined;
  #sentAt = 0;
  #stale = 0;
  #status = 0;
  #engineHeaders: IncomingHttpHeaders = {};
  #isStream = false;
  #collected: Buffer[] = [];
  #collectedBytes = 0;
  /** The last bytes that were written, and those before them: [DONE] comes after an error, as a chunk of its own. */
  #last: Buffer | undefined;
  #before: Buffer | undefined;

  constructor(request: Forwarding, onEnd: (end: ForwardEnd) => void) {
    this.#request = request;
    this.#response = request.response;
    this.#onEnd = onEnd;
    this.#echo = request.echo;
    this.#held = request.response.headersSent;
    this.#wholeAt = deadlineIn(request.deadlines.wholeMs);
    this.#dueAt = deadlineIn(request.deadlines.firstTokenMs);
  }

  start(): void {
    if (this.#response.destroyed) return process.nextTick(() => this.abort());
    this.#response.on('close', this.#onClose);
    join(this);
    this.#send();
  }

  #send(): void {
    const { dispatcher, method, path, headers } = this.#request;
    dispatcher.dispatch({ method, path, headers, body: this.#body() }, this);
  }

  /** One buffer leaves in one write with the head; undici sends a stream piece by piece. */
  #body(): Buffer | Readable | null {
    const { body, rest } = this.#request;
    if (rest !== undefined) return Readable.from(chain(body, rest), { objectMode: false });
    return body.length < 2 ? (body[0] ?? null) : Buffer.concat(body);
  }

  abort(): void {
    if (this.#finish({ kind: 'left' })) this.#controller?.abort(new Error('the caller left'));
  }

  readonly #onClose = (): void => this.abort(); // an arrow, so that it can be taken off again

  // -- the engine's side ---------------------------------------------------------------------------------------------

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#sentAt = performance.now();
    // The caller left while the connection was being made.
    if (this.#phase === 'over') controller.abort(new Error('the caller left'));
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200 || this.#phase === 'over') return;
    this.#status = status;
    this.#engineHeaders = headers;
    this.#isStream = String(headers['content-type']).startsWith('text/event-stream');
    if (this.#echo !== undefined && isEncoded(headers['content-encoding'])) {
      return this.#stop('backend_error', 'The engine answered in a content-encoding that it was not asked for.');
    }
    const ok = status < 300 && (this.#isStream || !this.#held);
    const collect = (status >= 400 && this.#mayBeUnknown(status)) || (this.#held && !ok);
    if ((status === 429 || status === 503) && this.#request.mayAskAnother?.()) return this.#sendBack(status);
    this.#phase = collect ? 'collect' : 'pass';
    // A stream's head goes out even if the first token is far, but in one write with it when it is here.
    if (this.#isStream && !collect && !this.#held) process.nextTick(this.#flushHead);
  }

  /** It can be told from the answer's text alone. */
  #mayBeUnknown(status: number): boolean {
    const { replayable, unknownModel } = this.#request;
    return replayable && unknownModel?.statuses.includes(status) === true;
  }

  #sendBack(status: 429 | 503): void {
    this.#finish({ kind: status === 429 ? 'busy' : 'unavailable', message: `The engine answered ${status}.` });
    this.#controller?.abort(new Error('asked elsewhere'));
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#phase === 'over') return;
    this.#dueAt = deadlineIn(this.#request.deadlines.betweenChunksMs);
    if (this.#phase === 'collect') return this.#collect(chunk);
    if (isGivenUp(chunk)) return this.#stop('backend_error', GAVE_UP);
    this.#write(this.#echo === undefined ? chunk : this.#echo.push(chunk));
    if (this.#response.writableNeedDrain) this.#waitForCaller(controller);
  }

  onResponseEnd(_?: Dispatcher.DispatchController, trailers: IncomingHttpHeaders = {}): void {
    if (this.#phase === 'over') return;
    if (this.#phase === 'collect') return this.#answerCollected();
    const rest = this.#echo?.end(this.#status);
    if (rest !== undefined && rest.length > 0) this.#write(rest);
    this.#sendHead();
    this.#response.addTrailers(responseHeaders(trailers, {}, undefined));
    this.#response.end();
    const failed = this.#isStream ? (streamedError(this.#last) ?? streamedError(this.#before)) : undefined;
    this.#finish({ kind: 'done', status: failed ?? this.#status });
  }

  onResponseError(_: Dispatcher.DispatchController | null, error: Error): void {
    if (this.#phase === 'over') return;
    if (error instanceof StepgateError) return this.#fallShort(error);
    if (this.#isStale(error)) return process.nextTick(() => this.#sendAgain());
    const code = 'code' in error ? String(error.code) : error.name;
    const message = `${error.message === '' ? code : error.message}.`;
    if (this.#controller !== undefined) this.#fail('backend_error', `The engine broke off: ${message}`);
    // undici may say this from within `dispatch`.
    else process.nextTick(() => this.#refuse(code, message));
  }

  #isStale(error: Error): boolean {
    const { rest } = this.#request;
    if (this.#status !== 0 || rest !== undefined || this.#stale === STALE.timesMax) return false;
    return closedWhenReused(error) && performance.now() - this.#sentAt < STALE.withinMs;
  }

  #sendAgain(): void {
    if (this.#phase === 'over') return;
    this.#stale += 1;
    this.#controller = undefined;
    this.#send();
  }

  /** The rest of the body did not come, or may not be passed on: no fault of the engine's, which gets no whole request. */
  #fallShort({ code, message }: StepgateError): void {
    if (code === 'client_closed') this.abort();
    else this.#fail(code, message);
  }

  /** Nothing was sent. */
  #refuse(code: string, message: string): void {
    if (code === 'UND_ERR_INVALID_ARG') return this.#fail('internal_error', `The request cannot be sent: ${message}`);
    const refused = `No connection to the engine: ${message}`;
    if (this.#request.replayable) this.#finish({ kind: 'refused', message: refused });
    else this.#fail('backend_unavailable', refused);
  }

  /** Called by the common clock. */
  sweep(nowMs: number): void {
    const { firstTokenMs, betweenChunksMs, wholeMs } = this.#request.deadlines;
    if (nowMs >= this.#wholeAt) return this.#timeOut(`the answer was not complete after ${wholeMs} ms`);
    if (nowMs < this.#dueAt || this.#controller?.paused) return;
    if (this.#last === undefined) this.#timeOut(`no first token within ${firstTokenMs} ms`);
    else this.#timeOut(`nothing came for ${betweenChunksMs} ms in the middle of the answer`);
  }

  // -- the caller's side ---------------------------------------------------------------------------------------------

  readonly #flushHead = (): void => {
    if (this.#phase !== 'pass' || this.#response.headersSent) return;
    try {
      this.#sendHead();
      this.#response.flushHeaders();
    } catch (error) {
      // A header that Node refuses to write. Elsewhere undici catches it and ends the request.
      this.#stop('backend_error', `The engine's answer cannot be passed on: ${String(error)}`);
    }
  };

  #sendHead(): void {
    if (this.#response.headersSent) return;
    // Another name is another length: such an answer goes out chunked. (Telling the new length saved nothing measurable.)
    const bytes = this.#echo === undefined ? this.#engineHeaders['content-length'] : undefined;
    const headers = responseHeaders(this.#engineHeaders, this.#request.responseHeaders, bytes);
    this.#response.writeHead(this.#status, headers);
  }

  #write(bytes: Buffer): void {
    // An empty write would still start a chunked body; all of the chunk may be held back by the echo.
    if (bytes.length === 0 || this.#response.destroyed) return;
    this.#sendHead();
    this.#before = this.#last;
    this.#last = bytes;
    this.#response.write(bytes);
  }

  #waitForCaller(controller: Dispatcher.DispatchController): void {
    if (controller.paused) return;
    controller.pause();
    this.#response.once('drain', () => {
      this.#dueAt = deadlineIn(this.#request.deadlines.betweenChunksMs);
      controller.resume();
    });
  }

  #collect(chunk: Buffer): void {
    this.#collected.push(chunk);
    this.#collectedBytes += chunk.length;
    if (this.#collectedBytes <= COLLECT_BYTES_MAX) return;
    if (this.#held) return this.#stop('backend_error', `The engine answered ${this.#status} and too much to read.`);
    // Too long to be the one answer that is looked for.
    this.#passCollected();
  }

  #passCollected(): void {
    this.#phase = 'pass';
    for (const chunk of this.#collected) this.#write(this.#echo === undefined ? chunk : this.#echo.push(chunk));
    this.#collected = [];
  }

  #answerCollected(): void {
    const error = engineError(Buffer.concat(this.#collected).toString('utf8'), this.#status);
    const { unknownModel } = this.#request;
    if (unknownModel && this.#mayBeUnknown(this.#status) && unknownModel.says(error, this.#status)) {
      this.#finish({ kind: 'missing', message: error.message, gone: !unknownModel.isForgotten });
      return;
    }
    if (this.#held) {
      this.#response.end(errorEvent(error, this.#request.typedEvents));
      this.#finish({ kind: 'done', status: this.#status });
      return;
    }
    this.#passCollected();
    this.onResponseEnd();
  }

  #timeOut(what: string): void {
    this.#stop('deadline_exceeded', `The engine was too slow: ${what} (\`deadlines\` in the config).`);
  }

  /** Fails from our side: the engine is still at it. */
  #stop(code: ErrorCode, message: string): void {
    this.#fail(code, message);
    this.#controller?.abort(new Error(message));
  }

  stop(code: ErrorCode, message: string): void {
    this.#stop(code, message);
  }

  #fail(code: ErrorCode, message: string): void {
    const response = this.#response;
    const started = response.headersSent && this.#phase === 'pass' && !(this.#held && this.#last === undefined);
    if (!this.#finish({ kind: 'failed', code, message, started }) || !started) return;
    // A caller that does not read would never get the event, and would hold its memory: break it off.
    if (!this.#isStream || response.writableNeedDrain) response.destroy();
    else {
      const event = errorEvent(errorBody(new StepgateError(code, message)).error, this.#request.typedEvents);
      response.end(this.#isMidEvent() ? `\n\n${event}` : event);
    }
  }

  /** A new event must not continue the one that was cut. */
  #isMidEvent(): boolean {
    const last = this.#last;
    return last !== undefined && !(last.at(-1) === 0x0a && last.at(-2) === 0x0a);
  }

  /** True the first time. */
  #finish(end: ForwardEnd): boolean {
    if (this.#phase === 'over') return false;
    this.#phase = 'over';
    leave(this);
    this.#response.off('close', this.#onClose);
    this.#onEnd(end);
    return true;
  }
}

async function* chain(pieces: readonly Buffer[], rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  yield* pieces;
  yield* rest;
}
