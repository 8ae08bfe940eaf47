// An engine that costs as little as an engine can: it answers every POST from ready-made bytes, and a gateway's questions as vLLM would.
// Raw sockets, since it shares a core with the load tool. It must not parse the JSON of a request that is measured.
//
// `max_tokens` of a streamed request is its number of chunks. With `seed` they come that many ms apart, each with its number and
// the machine's clock in it (streams.ts reads them); without, one after the other, each in a write of its own.
import { createServer, type Socket } from 'node:net';

const json = (value: unknown): string => JSON.stringify(value);
/** A longer body is only counted: it asks for a whole answer. */
const READ_BYTES_MAX = 8 * 1024;

const message = (content: string) => ({
  id: 'chatcmpl-0',
  object: 'chat.completion',
  created: 1_700_000_000,
  model: 'my-model@5',
  choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 10, completion_tokens: 64, total_tokens: 74 },
});

const answer = (type: string, body: string): Buffer =>
  Buffer.from(`HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);

/** 1 KB. */
const WHOLE = answer('application/json', json(message('x'.repeat(1024 - json(message('')).length))));

const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
const event = (content: string): string =>
  chunk(
    `data: ${json({ id: 'chatcmpl-0', object: 'chat.completion.chunk', created: 1_700_000_000, model: 'my-model@5', choices: [{ index: 0, delta: { content }, finish_reason: null }] })}\n\n`,
  );
const HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n';
const FIRST = Buffer.from(`${HEAD}${event('word ')}`);
const NEXT = Buffer.from(event('word '));
const LAST = Buffer.from(`${chunk('data: [DONE]\n\n')}0\r\n\r\n`);
/** Its number and when it was written, in us of the machine's monotonic clock, which all processes share. */
const stamped = (index: number): string => event(`t${index}:${process.hrtime.bigint() / 1000n};`);

const card = (id: string, root: string, parent: string | null) => ({
  id,
  object: 'model',
  created: 0,
  owned_by: 'vllm',
  root,
  parent,
  max_model_len: parent === null ? 4096 : null,
});
const cards = new Map([['base', card('base', 'base', null)]]);

function reply(socket: Socket, head: string, body: string): void {
  if (head.startsWith('GET /v1/models ')) {
    socket.write(answer('application/json', json({ object: 'list', data: [...cards.values()] })));
  } else if (head.startsWith('GET /version ')) socket.write(answer('application/json', json({ version: '0.0.0' })));
  else if (head.startsWith('GET ')) {
    const metrics = 'vllm:lora_requests_info{max_lora="4",running_lora_adapters="",waiting_lora_adapters=""} 1\n';
    socket.write(answer('text/plain', metrics));
  } else if (head.startsWith('POST /v1/load_lora_adapter ')) {
    const { lora_name, lora_path } = JSON.parse(body);
    cards.set(lora_name, card(lora_name, lora_path, 'base'));
    socket.write(answer('text/plain', `Success: LoRA adapter '${lora_name}' added successfully.`));
  } else if (head.startsWith('POST /v1/unload_lora_adapter ')) {
    const { lora_name } = JSON.parse(body);
    cards.delete(lora_name);
    socket.write(answer('text/plain', `Success: LoRA adapter '${lora_name}' removed successfully.`));
  } else if (/"stream": ?true/.test(body)) {
    const chunks = Number(/"max_tokens": ?(\d+)/.exec(body)?.[1] ?? 64);
    const everyMs = Number(/"seed": ?(\d+)/.exec(body)?.[1] ?? 0);
    if (everyMs > 0) slowStream(socket, chunks, everyMs);
    else stream(socket, chunks, 0);
  } else socket.write(WHOLE);
}

/** One write for each event and turn of the loop, so that they arrive as a token does: alone. */
function stream(socket: Socket, chunks: number, index: number): void {
  if (socket.destroyed) return;
  socket.write(index === 0 ? FIRST : index < chunks ? NEXT : LAST);
  if (index < chunks) setImmediate(stream, socket, chunks, index + 1);
}

function slowStream(socket: Socket, chunks: number, everyMs: number): void {
  socket.write(HEAD + stamped(0));
  let index = 1;
  const timer = setInterval(() => {
    if (socket.destroyed) return clearInterval(timer);
    if (index < chunks) return void socket.write(stamped(index++));
    clearInterval(timer);
    socket.write(LAST);
  }, everyMs);
}

/** What one connection still has to read. */
interface Reading {
  head: string | undefined;
  /** Undefined: too long to be looked at. */
  body: Buffer[] | undefined;
  /** Bytes of the body that have not come; -1: chunked, which ends with an empty chunk. */
  left: number;
}

const CHUNKED_END = Buffer.from('0\r\n\r\n');

/** Takes the head off; undefined while it has not all come. */
function headOf(bytes: Buffer): { reading: Reading; rest: Buffer } | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) return undefined;
  const head = bytes.toString('latin1', 0, end);
  const left = /\r\ntransfer-encoding: *chunked/i.test(head)
    ? -1
    : Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
  return { reading: { head, body: left > READ_BYTES_MAX ? undefined : [], left }, rest: bytes.subarray(end + 4) };
}

/** Takes what belongs to the body; returns the rest once it is complete. */
function bodyOf(reading: Reading, bytes: Buffer): Buffer | undefined {
  if (reading.left === -1) {
    reading.body?.push(bytes);
    return bytes.subarray(-CHUNKED_END.length).equals(CHUNKED_END) ? Buffer.alloc(0) : undefined;
  }
  const taken = Math.min(reading.left, bytes.length);
  reading.body?.push(taken === bytes.length ? bytes : bytes.subarray(0, taken));
  reading.left -= taken;
  return reading.left === 0 ? bytes.subarray(taken) : undefined;
}

const server = createServer({ noDelay: true }, (socket) => {
  let reading: Reading | undefined;
  let bytes: Buffer = Buffer.alloc(0);
  socket.on('error', () => socket.destroy());
  socket.on('data', (more) => {
    bytes = bytes.length === 0 ? (more as Buffer) : Buffer.concat([bytes, more as Buffer]);
    for (;;) {
      if (reading === undefined) {
        const begun = headOf(bytes);
        if (begun === undefined) return;
        ({ reading, rest: bytes } = begun);
      }
      const rest = bodyOf(reading, bytes);
      bytes = rest ?? Buffer.alloc(0);
      if (rest === undefined) return;
      reply(socket, reading.head ?? '', Buffer.concat(reading.body ?? []).toString('latin1'));
      reading = undefined;
      if (bytes.length === 0) return;
    }
  });
});
server.listen({ port: Number(process.argv[2] ?? 0), host: '127.0.0.1', backlog: 4096 });
