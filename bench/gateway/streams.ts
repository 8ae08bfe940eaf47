// The load of streams that wrk cannot make: so many per second (first tokens), or so many at once (slow ones), read chunk by chunk.
// A process of its own on the load tool's core, over raw sockets; takes a Plan as JSON, prints a Report as JSON.
// It reads the stamps that engine.ts puts into its chunks: both read the machine's monotonic clock.
import { connect, type Socket } from 'node:net';

export interface Plan {
  readonly port: number;
  readonly model: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Streams in all, started this many per second. */
  readonly streams: number;
  readonly perSecond: number;
  /** Of one stream, and how far apart the engine writes them. */
  readonly chunks: number;
  readonly everyMs: number;
}

export interface Report {
  readonly seconds: number;
  readonly chunks: number;
  /** From the request's first byte out to the first token's in. */
  readonly firstMs: Quantiles;
  /** From the engine's write to here. */
  readonly chunkMs: Quantiles;
  /** Chunks that came when the next one was already due, and chunks that never came. */
  readonly late: number;
  readonly missed: number;
}

export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
}

const nowUs = (): number => Number(process.hrtime.bigint() / 1000n);
const END = '\r\n0\r\n\r\n';
/** After its last chunk was due a stream is given up. */
const PATIENCE_MS = 5000;

function quantiles(values: number[]): Quantiles {
  values.sort((a, b) => a - b);
  const at = (share: number): number => values[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}

class Load {
  readonly #plan: Plan;
  readonly #request: string;
  readonly #idle: Socket[] = [];
  readonly #firstMs: number[] = [];
  readonly #chunkMs: number[] = [];
  #late = 0;

  constructor(plan: Plan) {
    this.#plan = plan;
    const { model, chunks, everyMs } = plan;
    const messages = [{ role: 'user', content: 'Tell me a joke. '.repeat(56) }];
    const body = JSON.stringify({ model, messages, max_tokens: chunks, seed: everyMs, stream: true });
    const headers = { host: '127.0.0.1', 'content-type': 'application/json', 'content-length': body.length };
    const lines = Object.entries({ ...headers, ...plan.headers }).map(([name, value]) => `${name}: ${value}\r\n`);
    this.#request = `POST /v1/chat/completions HTTP/1.1\r\n${lines.join('')}\r\n${body}`;
  }

  async run(): Promise<Report> {
    const { streams, perSecond, chunks, everyMs } = this.#plan;
    const startUs = nowUs();
    const running: Promise<void>[] = [];
    await new Promise<void>((resolve) => {
      // As many as are due by now; a timer is never on time to the millisecond.
      const timer = setInterval(() => {
        const due = Math.min(streams, Math.ceil(((nowUs() - startUs) / 1e6) * perSecond));
        while (running.length < due) running.push(this.#ask());
        if (running.length < streams) return;
        clearInterval(timer);
        resolve();
      }, 1);
    });
    const patience = Promise.withResolvers<void>();
    const timer = setTimeout(patience.resolve, chunks * everyMs + PATIENCE_MS);
    await Promise.race([Promise.all(running), patience.promise]);
    clearTimeout(timer);
    const came = this.#chunkMs.length;
    return {
      seconds: (nowUs() - startUs) / 1e6,
      chunks: came,
      firstMs: quantiles(this.#firstMs),
      chunkMs: quantiles(this.#chunkMs),
      late: this.#late,
      missed: streams * chunks - came,
    };
  }

  /** Ends with the stream, or with its connection. */
  #ask(): Promise<void> {
    const socket = this.#idle.pop() ?? connect({ port: this.#plan.port, host: '127.0.0.1', noDelay: true });
    const { promise, resolve } = Promise.withResolvers<void>();
    const sentUs = nowUs();
    let text = '';
    let first = true;
    const onData = (bytes: Buffer): void => {
      const atUs = nowUs();
      text += bytes.toString('latin1');
      let read = 0;
      for (const token of text.matchAll(/t\d+:(\d+);/g)) {
        read = token.index + token[0].length;
        if (first) this.#firstMs.push((atUs - sentUs) / 1000);
        first = false;
        const tookMs = (atUs - Number(token[1])) / 1000;
        this.#chunkMs.push(tookMs);
        if (tookMs > this.#plan.everyMs) this.#late++;
      }
      text = text.slice(read).slice(-4096);
      if (!text.endsWith(END)) return;
      leave();
      this.#idle.push(socket);
    };
    const leave = (): void => {
      socket.off('data', onData).off('close', leave);
      resolve();
    };
    socket.on('data', onData).on('close', leave);
    if (socket.listenerCount('error') === 0) socket.on('error', () => socket.destroy());
    socket.write(this.#request);
    return promise;
  }
}

const report = await new Load(JSON.parse(process.argv[2] ?? '{}')).run();
console.log(JSON.stringify(report));
process.exit();
