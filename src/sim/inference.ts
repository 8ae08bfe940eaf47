// Answers one request of any protocol: reads the body, puts a sequence per choice to the engine, writes the tokens out as they come, and aborts
// them when the caller leaves. What the bytes look like is the wire's, what they say answers.ts'.
import type { HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { Context } from 'hono';
import { speak, type Token } from './answers.ts';
import {
  type Ask,
  type Body,
  type Choice,
  checkLengths,
  DONE,
  type Exchange,
  frame,
  stringAt,
  type Wire,
} from './exchange.ts';
import type { Fault } from './faults.ts';
import { type Background, Kept } from './kept.ts';
import type { Machine } from './machine.ts';
import { engineDied, noSuchAnswer, nothingKept, notJson, notJsonType } from './refusals.ts';
import { reset } from './reset.ts';
import { known } from './wire-responses.ts';

export type SimContext = Context<{ Bindings: HttpBindings; Variables: { fault: Fault | undefined } }>;

/** The body as JSON; throws vLLM's refusals. */
export async function bodyOf(c: SimContext): Promise<Body> {
  if (c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase() !== 'application/json') throw notJsonType();
  let body: unknown;
  try {
    body = JSON.parse(await c.req.text());
  } catch {
    throw notJson();
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw notJson();
  return { ...body };
}

/** The name that is asked for; none means the first base. Throws for one that the engine does not know, and when it is dead. */
export function modelOf(machine: Machine, body: Body): string {
  if (machine.engine.dead) throw engineDied();
  const name = stringAt(body, 'model') || machine.base;
  machine.engine.find(name);
  return name;
}

/** The fields of a form; a file is its bytes. Of two fields with one name the last counts, as in vLLM. */
async function formOf(c: SimContext): Promise<Body> {
  const headers = { 'content-type': c.req.header('content-type') ?? '' };
  const fields = await new Response(await c.req.arrayBuffer(), { headers }).formData();
  const entries = [...fields].map(async ([name, value]) =>
    value instanceof File ? [name, new Uint8Array(await value.arrayBuffer())] : [name, value],
  );
  return Object.fromEntries(await Promise.all(entries));
}

export async function answer(c: SimContext, machine: Machine, wire: Wire): Promise<Response> {
  const body = await (wire.form ? formOf(c) : bodyOf(c));
  const model = modelOf(machine, body);
  const ask = wire.read(body);
  checkLengths(ask, machine.options.maxModelLen);
  if (ask.background && !machine.options.keepResponses) throw nothingKept();
  if (ask.previous !== undefined && !machine.kept.has(ask.previous)) throw noSuchAnswer(ask.previous);
  const chosen = wire.keeps ? stringAt(body, 'request_id') : undefined;
  const id = chosen ?? wire.idPrefix + (c.req.header('x-request-id') ?? machine.nextId());
  const exchange: Exchange = { id, createdS: Math.floor(machine.clock.unixS()), model, ask, choices: choicesOf(ask) };
  const kept = wire.keeps && machine.options.keepResponses && body.store !== false ? new Kept(exchange) : undefined;
  if (kept !== undefined) machine.kept.set(id, kept);
  const { outgoing } = c.env;
  const requestId = c.req.header('x-request-id') ?? '';
  const writer: Writer = { socket: outgoing, wire, exchange, requestId, fault: c.get('fault'), tokens: 0 };
  if (kept?.background !== undefined) {
    void run(machine, { ...writer, socket: kept.background });
    if (!ask.stream) send(outgoing, 200, known(exchange));
    else kept.background.follow(outgoing.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' }));
    return RESPONSE_ALREADY_SENT;
  }
  if (ask.stream) {
    // vLLM sends these at once, while the request may still wait for its turn: a failure after this is told in the stream.
    outgoing.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    outgoing.flushHeaders();
  }
  await run(machine, writer);
  return RESPONSE_ALREADY_SENT;
}

const choicesOf = (ask: Ask): Choice[] =>
  ask.prompts.flatMap((prompt, p) =>
    Array.from({ length: ask.n }, (_, i) => ({
      index: p * ask.n + i,
      prompt,
      digest: '',
      tokens: [],
      finish: undefined,
    })),
  );

type Socket = HttpBindings['outgoing'];

interface Writer {
  readonly requestId: string;
  readonly socket: Socket | Background;
  readonly wire: Wire;
  readonly exchange: Exchange;
  readonly fault: Fault | undefined;
  /** Told so far, over all choices. */
  tokens: number;
}

/** Resolves when the answer is written, or its caller has left, and nothing of it is in the engine. */
function run(machine: Machine, writer: Writer): Promise<void> {
  const { exchange, socket } = writer;
  const { tally, metrics, clock } = machine;
  const startedAt = clock.now();
  const aborts: (() => void)[] = [];
  let ended = false;
  let left = exchange.choices.length;
  return new Promise((resolve) => {
    const over = (outcome: 'done' | 'died' | 'aborted') => {
      if (ended) return;
      ended = true;
      for (const abort of aborts) abort();
      tally[outcome] += 1;
      metrics.endToEnd(clock.now() - startedAt);
      if (outcome === 'done') close(writer);
      if (outcome === 'died') fail(writer);
      resolve();
    };
    socket.once('close', () => over('aborted'));
    for (const choice of exchange.choices) {
      const told = toldOf(machine, writer, choice);
      const token = () => {
        if (!told.token()) over('done');
        return !ended && choice.finish === undefined;
      };
      const end = (outcome: 'done' | 'died', isOrphan: boolean) => {
        if (isOrphan) tally.orphans.push(writer.requestId);
        left -= 1;
        if (outcome === 'died' || left === 0) over(outcome);
      };
      aborts.push(machine.engine.submit(exchange.model, { start: told.start, token, end }));
    }
    machine.noteInFlight();
  });
}

/** How one choice grows. `token` is false when a fault ended the answer. */
function toldOf({ metrics, clock, options }: Machine, writer: Writer, choice: Choice) {
  const { model, ask } = writer.exchange;
  let words: Generator<Token, never> | undefined;
  let lastAt = clock.now();
  metrics.promptTokens(choice.prompt.length);
  return {
    start: ({ digest }: { digest: string }) => {
      choice.digest = digest;
      words = speak({ name: model, digest }, choice.prompt, choice.index % ask.n);
    },
    token: (): boolean => {
      const now = clock.now();
      if (choice.tokens.length === 0) metrics.firstToken(now - lastAt);
      else metrics.interToken(now - lastAt);
      lastAt = now;
      metrics.generationTokens();
      if (words) choice.tokens.push(words.next().value);
      choice.finish = finishOf(choice, ask, options);
      return tell(writer, choice);
    },
  };
}

function finishOf(choice: Choice, ask: Ask, limits: { maxModelLen: number; answerTokens: number }): Choice['finish'] {
  const tokens = choice.tokens.length;
  if (tokens >= (ask.maxTokens ?? Number.POSITIVE_INFINITY)) return 'length';
  if (tokens + choice.prompt.length >= limits.maxModelLen) return 'length';
  return !ask.ignoreEnd && tokens >= limits.answerTokens ? 'stop' : undefined;
}

/** Writes the choice's newest token. False when a fault ended the answer. A slow reader's bytes wait in memory, as in vLLM. */
function tell(writer: Writer, choice: Choice): boolean {
  const { socket, wire, exchange, fault } = writer;
  writer.tokens += 1;
  const faulty = fault && 'afterTokens' in fault && writer.tokens > fault.afterTokens ? fault.kind : undefined;
  if (faulty === 'stall') return true;
  if (faulty === 'cut') 'socket' in socket ? reset(socket.socket) : socket.destroy();
  else if (faulty === 'end' && exchange.ask.stream) socket.end();
  else if (faulty) fail(writer);
  else if (exchange.ask.stream) {
    socket.write((writer.tokens === 1 ? wire.opening(exchange) : '') + wire.token(exchange, choice));
  }
  return faulty === undefined;
}

function close({ socket, wire, exchange, fault, tokens }: Writer): void {
  if (socket.writableEnded || socket.destroyed) return;
  if (fault?.kind === 'stall' && tokens > fault.afterTokens) return;
  if (exchange.ask.stream) socket.end(wire.closing(exchange));
  else send(socket, 200, wire.whole(exchange));
}

function fail({ socket, wire, exchange }: Writer): void {
  if (socket.writableEnded || socket.destroyed) return;
  const refusal = engineDied();
  if (exchange.ask.stream) socket.end(wire.failing?.(refusal.message) ?? frame(refusal.body()) + DONE);
  else send(socket, refusal.status, refusal.body());
}

export function send(socket: Socket | Background, status: number, body: unknown): void {
  const bytes = Buffer.from(JSON.stringify(body));
  if (!('writeHead' in socket)) return void socket.end();
  socket.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length }).end(bytes);
}
