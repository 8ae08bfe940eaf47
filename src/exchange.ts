// One request on its way through: held while it waits, forwarded when it is placed, over exactly once.
// It knows the wire and nothing of other requests; whether and where it runs is the router's business.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import { answerMade } from './backends/background.ts';
import type { Dialect } from './backends/driver.ts';
import { forward, type Running } from './backends/forward.ts';
import type { Deadlines, ForwardEnd } from './backends/forwarding.ts';
import { requestHeaders } from './backends/headers.ts';
import type { Config } from './config.ts';
import type { BackendName, BaseName, Checkpoint, RequestClass, TenantId, TicketId, Why } from './domain.ts';
import { type ErrorCode, StepgateError } from './errors.ts';
import { answerId } from './openai/answer-id.ts';
import { appendMember } from './openai/body.ts';
import type { Held } from './openai/body-budget.ts';
import { echoOf, type Rewriter } from './openai/echo.ts';
import { errorBody, sendError } from './openai/error-body.ts';
import { headerText } from './openai/header-text.ts';
import type { Upload } from './openai/read-form.ts';
import type { Route } from './openai/routes.ts';
import { comment, errorEvent } from './openai/sse.ts';
import type { Outcome } from './router/events.ts';

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
  /** Whether the caller named the class; else it is a guess. */
  readonly classSaid: boolean;
  /** The sweep that it says it is part of, whether or not there is one. */
  readonly sweep: string | undefined;
  readonly tenant: TenantId;
  readonly stream: boolean;
  /** The original bytes with only the model's name replaced by the engine's, in pieces that share their memory. */
  readonly named: (engineName: string) => readonly Buffer[];
  /** Its body's bytes in memory: released when it is over. */
  readonly held: Held;
  /** The bytes of its messages, prompt or input, as they were written. */
  readonly prompt: Uint8Array | undefined;
  /** What of the caller's body is still on its way, behind `body`. */
  readonly rest: Upload | undefined;
  /** The engine goes on with it though nobody waits: its slot is kept until the answer is complete. */
  readonly background: boolean;
  /** The engine that has the answer from which this one goes on. */
  readonly near: BackendName | undefined;
  readonly arrivedAt: number;
}

/** Where a request is sent. */
export interface Destination {
  readonly name: BackendName;
  readonly url: string;
  readonly pool: Dispatcher;
  /** Put before the route's path. */
  readonly prefix: string;
  /** How it is told which model is meant. */
  readonly dialect: Dialect;
}

/** How a request ended, for metrics: answered, answered with an error of the engine's own, or an error of ours. */
export type OutcomeCode = ErrorCode | 'ok' | 'engine_4xx' | 'engine_5xx';

export const outcomeOf = (status: number): OutcomeCode =>
  status < 400 ? 'ok' : status < 500 ? 'engine_4xx' : 'engine_5xx';

/** What a request that is over showed of its engine; undefined: nothing, as when its caller's body broke off. */
export function judged({ rest }: Asked, code: OutcomeCode, status = 0): Outcome | undefined {
  if (code === 'ok') return 'done';
  if (code === 'engine_4xx') return 'declined';
  if (code === 'engine_5xx') return status >= 502 && status <= 504 ? 'failed' : 'erred';
  // An upload that comes slowly keeps its engine waiting.
  const isLate = code === 'deadline_exceeded' && rest === undefined;
  return code === 'backend_error' || isLate ? 'failed' : undefined;
}

/** The engine did not take it, and nothing reached the caller. */
export type Bounce = Extract<ForwardEnd, { kind: 'missing' | 'refused' | 'busy' | 'unavailable' }>;

export interface ExchangeListener {
  /** The answer, or an error of ours, is on its way out in full. `status`: the engine's, if it answered. */
  over(exchange: Exchange, code: OutcomeCode, status?: number): void;
  /** The caller left, before or while it was answered. */
  left(exchange: Exchange): void;
  /** It may be dispatched once more. */
  bounced(exchange: Exchange, end: Bounce): void;
  /** The engine has no time for it: whether another one may be asked. */
  mayAskAnother(exchange: Exchange): boolean;
}

export class Exchange {
  readonly ticket: TicketId;
  readonly asked: Asked;
  /** The last placement; undefined while it waits. */
  placed:
    | { readonly backend: BackendName; readonly destination: Destination; readonly why: Why; readonly at: number }
    | undefined;
  readonly #config: Config;
  readonly #listener: ExchangeListener;
  #running: Running | undefined;
  /** Resolves when the engine has made the answer, for one that it makes in the background. */
  #made: (() => Promise<void>) | undefined;
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
    this.placed = { backend: destination.name, destination, why, at: now };
    const { route, incoming, response, requestId, rest } = this.asked;
    if (rest?.sent)
      return this.reject(
        'backend_unavailable',
        'the engine could not take it, and its upload cannot be sent twice; send it again',
      );
    const body = this.#body(destination);
    this.#running = forward(
      {
        dispatcher: destination.pool,
        method: 'POST',
        path: destination.prefix + route.path,
        headers: {
          ...requestHeaders(incoming.headers, requestId),
          ...rest?.lengthWith(body),
          // The body is not its caller's.
          ...(route.wording && JSON_TYPE),
        },
        body,
        rest: rest?.send(),
        response,
        responseHeaders: response.headersSent ? {} : this.#headers(),
        echo: this.#echo(destination),
        replayable: true,
        unknownModel: destination.dialect.unknownModel,
        mayAskAnother: () => rest?.sent !== true && this.#listener.mayAskAnother(this),
        typedEvents: route.typedEvents,
        deadlines: this.#deadlines(),
      },
      (end) => this.#ended(end),
    );
  }

  /** Where the engine keeps the answer, under an id that says where it is. */
  #body(destination: Destination): readonly Buffer[] {
    const { dialect } = destination;
    const { route, background } = this.asked;
    const from = dialect.modelOf(this.asked);
    let body = this.asked.named(from);
    if (dialect.membersOf !== undefined)
      for (const [name, value] of Object.entries(dialect.membersOf(this.asked))) body = appendMember(body, name, value);
    if (!route.keeps) return body;
    const id = answerId({ backend: destination.name, from, to: this.model });
    if (background) this.#made = () => answerMade(destination, id, this.#config.deadlines.wholeMs);
    return appendMember(body, 'request_id', id);
  }

  /** An answer that is not streamed comes whole: its first byte is its last. */
  #deadlines(): Deadlines {
    const { firstTokenMs, betweenChunksMs, wholeMs } = this.#config.deadlines;
    return { firstTokenMs: this.asked.stream ? firstTokenMs : wholeMs, betweenChunksMs, wholeMs };
  }

  #headers(): Record<string, string> {
    return {
      'x-request-id': this.asked.requestId,
      'x-stepgate-model': headerText(this.model),
      ...(this.asked.route.wording && JSON_TYPE),
      ...(this.placed && { 'x-stepgate-backend': this.placed.backend, 'x-stepgate-why': this.placed.why }),
    };
  }

  #echo({ dialect }: Destination): Rewriter | undefined {
    const { route, base, checkpoint } = this.asked;
    if (route.wording !== undefined) return route.wording.answers(this.model);
    if (route.echo === 'none') return undefined;
    if (!dialect.echoes) return echoOf({ from: undefined, to: this.model });
    if (checkpoint === undefined) return undefined;
    const from = route.echo === 'base' ? base : dialect.modelOf(this.asked);
    return echoOf({ from, to: checkpoint.name });
  }

  #ended(end: ForwardEnd): void {
    this.#running = undefined;
    switch (end.kind) {
      case 'missing':
      case 'refused':
      case 'busy':
      case 'unavailable':
        if (this.asked.response.destroyed) return this.#onClose();
        if (end.kind === 'missing' && end.gone && this.asked.checkpoint === undefined)
          return this.reject(
            'backend_error',
            `engine ${this.placed?.backend} has no model "${this.asked.base}": ${end.message}`,
          );
        return this.#listener.bounced(this, end);
      case 'left':
        this.#finish();
        return this.#whenMade(() => this.#listener.left(this));
      case 'done':
        this.#finish();
        return this.#whenMade(() => this.#listener.over(this, outcomeOf(end.status), end.status));
      case 'failed':
        if (!end.started) return this.reject(end.code, end.message);
        this.#finish();
        return this.#listener.over(this, end.code);
    }
  }

  /** At once, but for an answer in the background: until it is made, its adapter must stay. */
  #whenMade(then: () => void): void {
    if (this.#made === undefined) then();
    else void this.#made().then(then);
  }

  /** Ends it with an error of the catalogue: as a status if nothing was sent yet, else as the stream's last event. */
  reject(code: ErrorCode, message: string, retryAfterS?: number): void {
    if (this.#over) return;
    this.#finish();
    const { response, requestId, route } = this.asked;
    const error = new StepgateError(code, message, { ...(retryAfterS !== undefined && { retryAfterS }) });
    if (!response.headersSent)
      sendError(response, error, {
        headers: { 'x-request-id': requestId, 'x-stepgate-model': headerText(this.model) },
        wording: route.wording,
      });
    else if (!response.writableEnded) response.end(errorEvent(errorBody(error).error, route.typedEvents));
    this.#listener.over(this, code);
  }

  /** The gateway ends before it does: its caller is told, and its engine let go. */
  cut(message: string): void {
    if (this.#running === undefined) this.reject('shutting_down', message);
    else this.#running.stop('shutting_down', message);
  }

  #finish(): void {
    this.#over = true;
    clearInterval(this.#comments);
    this.asked.response.off('close', this.#onClose);
    this.asked.rest?.drain();
  }
}

const JSON_TYPE = { 'content-type': 'application/json' };
const SSE_HEADERS = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' };
