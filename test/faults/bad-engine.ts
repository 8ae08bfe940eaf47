// An engine that can be made to do anything on the wire: a bare socket server that answers as vLLM does where a test has not said otherwise.
// The simulated engine (src/sim) is for what engines do; this one for what no HTTP server would.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { reset as resetSocket } from '../../src/sim/reset.ts';
import { chunk, json, NO_MODEL, SSE } from '../backends/forwarding.ts';

export type Door = 'health' | 'version' | 'models' | 'metrics' | 'load' | 'unload' | 'inference';

export interface Asked {
  readonly door: Door;
  /** Its first line. */
  readonly line: string;
  readonly head: string;
  readonly body: string;
}

/** What it does with one request. */
export type Act = (socket: Socket, asked: Asked) => void;

export class BadEngine {
  /** All that was asked, oldest first. */
  readonly asked: Asked[] = [];
  /** What it lists: name -> path. */
  readonly adapters = new Map<string, string>();
  /** Its start as `/metrics` tells it, Unix seconds. */
  startedAtS = 1_700_000_000;
  /** Connections that were closed by the other side, or reset, since it was started. */
  closed = 0;
  readonly #acts = new Map<Door, Act[]>();
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** What it does with the next requests at this door, one after the other; the last stays. None: as an engine does. */
  does(door: Door, ...acts: Act[]): void {
    this.#acts.set(door, acts);
  }

  /** How many requests came to this door. */
  count(door: Door): number {
    return this.asked.filter((one) => one.door === door).length;
  }

  async listen(): Promise<void> {
    const server = createServer((socket) => this.#take(socket));
    this.#server = server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Every connection is reset. */
  reset(): void {
    for (const socket of this.#sockets) resetSocket(socket);
  }

  /** New connections are refused and the others reset; `listen` brings it back. */
  async refuse(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    this.reset();
    if (server !== undefined) await once(server.close(), 'close');
  }

  /** New connections are neither taken nor refused: a stopped process has the port, and its backlog is full. Until the test is over. */
  async swallow(): Promise<void> {
    await this.refuse();
    const code =
      'require("net").createServer().listen({ port: +process.argv[1], host: "127.0.0.1", backlog: 1 }, () => console.log())';
    const child = spawn(process.execPath, ['-e', code, String(this.#port)], { stdio: ['ignore', 'pipe', 'inherit'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    child.kill('SIGSTOP');
    const fillers = Array.from({ length: 4 }, () => connect(this.#port, '127.0.0.1').on('error', () => {}));
    onTestFinished(() => {
      for (const filler of fillers) filler.destroy();
    });
    await once(fillers[0] as Socket, 'connect');
  }

  #take(socket: Socket): void {
    this.#sockets.add(socket);
    let isOpen = true;
    const gone = () => {
      if (isOpen) this.closed += 1;
      isOpen = false;
    };
    socket.on('end', gone).on('error', gone);
    socket.on('close', () => this.#sockets.delete(socket));
    let bytes = '';
    socket.on('data', (data) => {
      bytes += data.toString('latin1');
      for (let asked = whole(bytes); asked !== undefined; asked = whole(bytes)) {
        bytes = bytes.slice(asked.head.length + 4 + asked.body.length);
        this.#answer(socket, asked);
      }
    });
  }

  #answer(socket: Socket, asked: Asked): void {
    this.asked.push(asked);
    const acts = this.#acts.get(asked.door) ?? [];
    const act = acts.length > 1 ? acts.shift() : acts[0];
    (act ?? this.#asAnEngine)(socket, asked);
  }

  readonly #asAnEngine: Act = (socket, { door, body }) => {
    switch (door) {
      case 'health':
        return void socket.write(json(200, ''));
      case 'version':
        return void socket.write(json(200, { version: '0.32.0' }));
      case 'metrics':
        return void socket.write(
          json(
            200,
            `process_start_time_seconds ${this.startedAtS}\nvllm:lora_requests_info{max_lora="2",running_lora_adapters="",waiting_lora_adapters=""} 1\n`,
          ),
        );
      case 'models':
        return void socket.write(json(200, { object: 'list', data: [...cards(this.adapters)] }));
      case 'load': {
        const { lora_name: name, lora_path: path } = JSON.parse(body) as { lora_name: string; lora_path: string };
        this.adapters.set(name, path);
        return void socket.write(json(200, 'Success'));
      }
      case 'unload':
        this.adapters.delete((JSON.parse(body) as { lora_name: string }).lora_name);
        return void socket.write(json(200, 'Success'));
      case 'inference': {
        const { model, stream } = JSON.parse(body) as { model: string; stream?: boolean };
        if (model !== 'base' && !this.adapters.has(model)) return void socket.write(json(404, NO_MODEL));
        return void socket.write(stream ? `${SSE}${chunk(event(model))}${chunk(DONE)}${END}` : json(200, words(model)));
      }
    }
  };
}

export const DONE = 'data: [DONE]\n\n';
/** Of a chunked body. */
export const END = '0\r\n\r\n';
export const words = (model: string, text = 'hello') => ({
  id: 'x',
  object: 'chat.completion',
  model,
  choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
});
export const event = (model: string, text = 'hello'): string =>
  `data: ${JSON.stringify({ model, choices: [{ index: 0, delta: { content: text } }] })}\n\n`;

/** Listening until the test is over. */
export async function badEngine(): Promise<BadEngine> {
  const engine = new BadEngine();
  await engine.listen();
  onTestFinished(() => engine.refuse());
  return engine;
}

// -- acts ------------------------------------------------------------------------------------------------------------

export const hang: Act = () => {};
export const reset: Act = (socket) => void socket.resetAndDestroy();
export const end: Act = (socket) => void socket.end();
/** Exactly these bytes. */
export const say =
  (bytes: string): Act =>
  (socket) =>
    void socket.write(bytes, 'latin1');
/** These bytes, and the connection is ended when they are out. */
export const sayAndEnd =
  (bytes: string): Act =>
  (socket) =>
    void socket.end(bytes, 'latin1');
/** These bytes; then, when they have had time to arrive, a reset. */
export const sayAndReset =
  (bytes: string): Act =>
  (socket) =>
    void socket.write(bytes, 'latin1', () => setTimeout(() => socket.resetAndDestroy(), 20));
/** So many characters at a time, each in a packet of its own. */
export const trickle =
  (bytes: string, step = 1): Act =>
  (socket) => {
    socket.setNoDelay(true);
    let at = 0;
    const next = () => {
      if (socket.destroyed || at >= bytes.length) return;
      socket.write(bytes.slice(at, at + step), 'latin1', () => setImmediate(next));
      at += step;
    };
    next();
  };

// -- what comes in ---------------------------------------------------------------------------------------------------

const DOORS: Readonly<Record<string, Door>> = {
  '/health': 'health',
  '/version': 'version',
  '/metrics': 'metrics',
  '/v1/models': 'models',
  '/v1/load_lora_adapter': 'load',
  '/v1/unload_lora_adapter': 'unload',
};

/** The first request in the bytes, once it has come whole. */
function whole(bytes: string): Asked | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const head = bytes.slice(0, headEnd);
  const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
  const isChunked = /^transfer-encoding:/im.test(head);
  const bodyStart = headEnd + 4;
  const bodyEnd = isChunked ? bytes.indexOf(END, bodyStart) + END.length : bodyStart + length;
  if (bodyEnd < bodyStart || bytes.length < bodyEnd) return undefined;
  const [line = ''] = head.split('\r\n', 1);
  const door = DOORS[line.split(' ')[1] ?? ''] ?? 'inference';
  return { door, line, head, body: bytes.slice(bodyStart, bodyEnd) };
}

function* cards(adapters: ReadonlyMap<string, string>) {
  yield { id: 'base', object: 'model', root: '/models/base', parent: null, max_model_len: 1024 };
  for (const [id, root] of adapters) yield { id, object: 'model', root, parent: 'base', max_model_len: null };
}
