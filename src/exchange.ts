// One request on its way through: held while it waits, forwarded when it is placed, over exactly once.
// It knows the wire and nothing of other requests; whether and where it runs is the router's business.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import { type Deadlines, type ForwardEnd, forward } from './backends/forward.ts';
import { requestHeaders } from './backends/headers.ts';
import type { Config } from './config.ts';
import type { BackendName, BaseName, Checkpoint, RequestClass, TenantId, TicketId, Why } from './domain.ts';
import { type ErrorCode, StepgateError } from './errors.ts';
import { errorBody, sendError } from './openai/error-body.ts';
import type { Route } from './openai/routes.ts';
import { comment, errorEvent } from './openai/sse.ts';

/** What a request turned out to be, once its body was read and its name resolved. */
export interface Asked {
  readonly route: Route;
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  /** The name as the caller wrote it. */
  readonly name: string;
  readonly base: BaseName;
  /** Undefined: the base itself is asked for. */
  readonly checkpoint: Checkpoint | undefined;
  readonly class: RequestClass;
  readonly tenant: TenantId;
  readonly stream: boolean;
  /** The original bytes with only the model's name replaced by the engine's. */
  readonly body: readonly Buffer[];
  readonly arrivedAt: number;
}

/** Where a request is sent. */
export interface Destination {
  readonly name: BackendName;
  readonly pool: Dispatcher;
  /** Put before the route's path. */
  readonly prefix: string;
}

/** How a request ended, for metrics: answered, answered with an error of the engine's own, or an error of ours. */
export type OutcomeCode = ErrorCode | 'ok' | 'engine_4xx' | 'engine_5xx';

/** The engine did not take it, and nothing reached the caller. */
export type Bounce = Extract<ForwardEnd, { kind: 'missing' | 'refused' }>;

export interface ExchangeListener {
  /** The answer, or an error of ours, is on its way out in full. */
  over(exchange: Exchange, code: OutcomeCode): void;
  /** The caller left, before or while it was answered. */
  left(exchange: Exchange): void;
  /** It may be dispatched once more. */
  bounced(exchange: Exchange, end: Bounce): void;
}

export class Exchange {
  readonly ticket: TicketId;
  readonly asked: Asked;
  /** The last placement; undefined while it waits. */
  placed: { readonly backend: BackendName; readonly why: Why; readonly at: number } | undefined;
  readonly #config: Config;
  readonly #listener: ExchangeListener;
  #running: { abort(): void } | undefined;
  #comments: NodeJS.Timeout | undefined;
  #over = false;

  constructor(ticket: TicketId, asked: Asked, { config, listener }: { config: Config; listener: ExchangeListener }) {
    this.ticket = ticket;
    this.asked = asked;
    this.#config = config;
    this.#listener = listener;
    asked.response.once('close', this.#onClose);
  }

  /** What the caller sees of the model that answers: never another step, nor the base, than what was asked. */
  get model(): string {
    return this.asked.checkpoint?.name ?? this.asked.base;
  }

  readonly #onClose = (): void => {
    if (this.#over || this.#running !== undefined || this.asked.response.writableFinished) return;
    this.#finish();
    this.#listener.left(this);
  };

  /** It waits: a streaming caller hears comments, so that it and its middleboxes stay awake. Costs the first byte's headers. */
  hold(): void {
    if (!this.asked.stream || this.#comments !== undefined || this.#over) return;
    this.#comments = setInterval(() => {
      const { response } = this.asked;
      if (!response.headersSent) response.writeHead(200, { ...this.#headers(), ...SSE_HEADERS });
      response.write(comment(`${this.model} waits for a slot or is loading`));
    }, this.#config.scheduling.commentEveryMs);
  }

  dispatch(destination: Destination, why: Why, now: number): void {
    clearInterval(this.#comments);
    this.#comments = undefined;
    this.placed = { backend: destination.name, why, at: now };
    const { route, incoming, response, requestId, body } = this.asked;
    this.#running = forward(
      {
        dispatcher: destination.pool,
        method: 'POST',
        path: destination.prefix + route.path,
        headers: requestHeaders(incoming.headers, requestId),
        body,
        response,
        responseHeaders: response.headersSent ? {} : this.#headers(),
        echo: this.#echo(),
        replayable: true,
        typedEvents: route.typedEvents,
        deadlines: this.#deadlines(),
      },
      (end) => this.#ended(end),
    );
  }

  /** An answer that is not streamed comes whole: its first byte is its last. */
  #deadlines(): Deadlines {
    const { firstTokenMs, betweenChunksMs, wholeMs } = this.#config.deadlines;
    return { firstTokenMs: this.asked.stream ? firstTokenMs : wholeMs, betweenChunksMs, wholeMs };
  }

  #headers(): Record<string, string> {
    return {
      'x-request-id': this.asked.requestId,
      'x-stepgate-model': this.model,
      ...(this.placed && { 'x-stepgate-backend': this.placed.backend, 'x-stepgate-why': this.placed.why }),
    };
  }

  #echo(): { from: string; to: string } | undefined {
    const { route, base, checkpoint } = this.asked;
    if (route.echo === 'none' || checkpoint === undefined) return undefined;
    const from = route.echo === 'base' ? base : (checkpoint.adapter?.id ?? checkpoint.name);
    return from === checkpoint.name ? undefined : { from, to: checkpoint.name };
  }

  #ended(end: ForwardEnd): void {
    this.#running = undefined;
    switch (end.kind) {
      case 'missing':
      case 'refused':
        if (this.asked.response.destroyed) return this.#onClose();
        return this.#listener.bounced(this, end);
      case 'left':
        this.#finish();
        return this.#listener.left(this);
      case 'done':
        this.#finish();
        return this.#listener.over(this, end.status < 400 ? 'ok' : end.status < 500 ? 'engine_4xx' : 'engine_5xx');
      case 'failed':
        if (!end.started) return this.reject(end.code, end.message);
        this.#finish();
        return this.#listener.over(this, end.code);
    }
  }

  /** Ends it with an error of the catalogue: as a status if nothing was sent yet, else as the stream's last event. */
  reject(code: ErrorCode, message: string): void {
    if (this.#over) return;
    this.#finish();
    const { response, requestId, route } = this.asked;
    const error = new StepgateError(code, message);
    if (!response.headersSent)
      sendError(response, error, { 'x-request-id': requestId, 'x-stepgate-model': this.model });
    else if (!response.writableEnded) response.end(errorEvent(errorBody(error).error, route.typedEvents));
    this.#listener.over(this, code);
  }

  #finish(): void {
    this.#over = true;
    clearInterval(this.#comments);
    this.asked.response.off('close', this.#onClose);
  }
}

const SSE_HEADERS = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' };
