// An engine that costs as little as an engine can: it answers every POST with the same bytes, and the gateway's questions as vLLM would.
// Raw sockets, since it shares a core with the load tool. It must not parse JSON or keep state beyond one connection's.
import { createServer, type Socket } from 'node:net';

const CHUNKS = 64;
const json = (value: unknown): string => JSON.stringify(value);

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
const STREAM: readonly Buffer[] = [
  Buffer.from(
    `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n${event('word ')}`,
  ),
  ...Array.from({ length: CHUNKS - 1 }, () => Buffer.from(event('word '))),
  Buffer.from(`${chunk('data: [DONE]\n\n')}0\r\n\r\n`),
];

const card = (id: string, root: string, parent: string | null) => ({
  id,
  object: 'model',
  created: 0,
  owned_by: 'vllm',
  root,
  parent,
  max_model_len: parent === null ? 4096 : null,
});
const cards = [card('base', 'base', null)];

/** The head of a request and how long it is, or undefined while it has not all come. */
function requestIn(bytes: Buffer): { head: string; body: Buffer; length: number } | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) return undefined;
  const head = bytes.toString('latin1', 0, end);
  const length = end + 4 + Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
  return bytes.length < length ? undefined : { head, body: bytes.subarray(end + 4, length), length };
}

function reply(socket: Socket, head: string, body: Buffer): void {
  if (head.startsWith('GET /v1/models '))
    socket.write(answer('application/json', json({ object: 'list', data: cards })));
  else if (head.startsWith('GET /version ')) socket.write(answer('application/json', json({ version: '0.0.0' })));
  else if (head.startsWith('GET ')) {
    const metrics = 'vllm:lora_requests_info{max_lora="4",running_lora_adapters="",waiting_lora_adapters=""} 1\n';
    socket.write(answer('text/plain', metrics));
  } else if (head.startsWith('POST /v1/load_lora_adapter ')) {
    const { lora_name, lora_path } = JSON.parse(body.toString());
    cards.push(card(lora_name, lora_path, 'base'));
    socket.write(answer('text/plain', `Success: LoRA adapter '${lora_name}' added successfully.`));
  } else if (body.includes('"stream":true')) stream(socket, 0);
  else socket.write(WHOLE);
}

/** One write for each event and turn of the loop, so that they arrive as a token does: alone. */
function stream(socket: Socket, index: number): void {
  const next = STREAM[index];
  if (next === undefined || socket.destroyed) return;
  socket.write(next);
  setImmediate(stream, socket, index + 1);
}

const server = createServer({ noDelay: true }, (socket) => {
  let bytes: Buffer = Buffer.alloc(0);
  socket.on('error', () => socket.destroy());
  socket.on('data', (more) => {
    bytes = bytes.length === 0 ? (more as Buffer) : Buffer.concat([bytes, more as Buffer]);
    for (let request = requestIn(bytes); request !== undefined; request = requestIn(bytes)) {
      bytes = bytes.subarray(request.length);
      reply(socket, request.head, request.body);
    }
  });
});
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => console.log('engine is up'));
