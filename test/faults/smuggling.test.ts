// Heads and bodies that a proxy in front and this server could read in two ways, as the published suites send them (PortSwigger's desync research, http1smuggling,
// RFC 9112 section 11.2): refused and the connection closed, or read in the one way that the standard knows. A request that stands behind is never taken from it.
import { expect } from 'vitest';
import { until } from '../gateway/harness.ts';
import { BadClient, chat } from './bad-client.ts';
import { type Faulty, openFaulty } from './faulty.ts';
import { rowsOf } from './row.ts';

const row = rowsOf('smuggling');

const BODY = chat('base');
const LENGTH = `Content-Length: ${BODY.length}`;
const CHUNKED = 'Transfer-Encoding: chunked';
const inChunks = (size: string, body = BODY, tail = ''): string => `${size}\r\n${body}\r\n0\r\n${tail}\r\n`;
const SIZE = BODY.length.toString(16);
/** What an attacker would have taken for a request of its own; asked for, it would reach the engine. */
const BEHIND = `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Behind: yes\r\n${LENGTH}\r\n\r\n${BODY}`;

interface Bytes {
  readonly line?: string;
  readonly host?: string;
  readonly fields: readonly string[];
  readonly body?: string;
}

const bytesOf = ({
  line = 'POST /v1/chat/completions HTTP/1.1',
  host = 'Host: localhost',
  fields,
  body = BODY,
}: Bytes) => `${[line, host, 'Content-Type: application/json', ...fields].join('\r\n')}\r\n\r\n${body}`;

async function send(bytes: string): Promise<{ faulty: Faulty; client: BadClient }> {
  const faulty = await openFaulty();
  const client = new BadClient(faulty.running.url).send(bytes);
  return { faulty, client };
}

/** It is told why, its connection is closed, and neither it nor what stands behind it has reached the engine. */
async function refused(bytes: string): Promise<string> {
  const { faulty, client } = await send(bytes + BEHIND);
  await client.untilClosed();
  const [reply, ...more] = client.replies;
  expect(more).toEqual([]);
  expect([400, 405]).toContain(reply?.status);
  expect(reply?.headers.get('connection')).toBe('close');
  const { error } = JSON.parse(reply?.body ?? '') as { error: { code: string } };
  expect(faulty.engine.count('inference')).toBe(0);
  return `${reply?.status} ${error.code}, connection closed, nothing reaches the engine`;
}

type Refused = Bytes & { readonly fault: string };

const REFUSED_BY_US: readonly Refused[] = [
  { fault: 'two Host headers', fields: [LENGTH, 'Host: evil'] },
  { fault: 'the same Host twice', fields: [LENGTH, 'Host: localhost'] },
  { fault: 'no Host header', host: 'X-No: host', fields: [LENGTH] },
  {
    fault: 'a target with another host in it',
    line: 'POST http://evil/v1/chat/completions HTTP/1.1',
    fields: [LENGTH],
  },
  {
    fault: 'a target with our own host in it',
    line: 'POST http://localhost/v1/chat/completions HTTP/1.1',
    fields: [LENGTH],
  },
  { fault: 'a target that is an asterisk', line: 'OPTIONS * HTTP/1.1', fields: [], body: '' },
  { fault: 'TRACE', line: 'TRACE /health HTTP/1.1', fields: [], body: '' },
  { fault: 'CONNECT', line: 'CONNECT evil:80 HTTP/1.1', fields: [], body: '' },
  {
    fault: 'Transfer-Encoding in HTTP/1.0',
    line: 'POST /v1/chat/completions HTTP/1.0',
    fields: [CHUNKED, 'Connection: keep-alive'],
    body: inChunks(SIZE),
  },
  { fault: 'Transfer-Encoding: gzip, chunked', fields: ['Transfer-Encoding: gzip, chunked'], body: inChunks(SIZE) },
  { fault: 'HTTP/2.0 in the first line', line: 'POST /v1/chat/completions HTTP/2.0', fields: [LENGTH] },
];
const REFUSED_BY_THE_PARSER: readonly Refused[] = [
  { fault: 'Content-Length and Transfer-Encoding', fields: [LENGTH, CHUNKED], body: inChunks(SIZE) },
  { fault: 'Transfer-Encoding and Content-Length', fields: [CHUNKED, LENGTH], body: inChunks(SIZE) },
  { fault: 'two Content-Lengths', fields: [LENGTH, 'Content-Length: 3'] },
  { fault: 'the same Content-Length twice', fields: [LENGTH, LENGTH] },
  { fault: 'a list of Content-Lengths', fields: [`${LENGTH}, ${BODY.length}`] },
  { fault: 'a Content-Length with a sign', fields: [`Content-Length: +${BODY.length}`] },
  { fault: 'a negative length', fields: ['Content-Length: -1'] },
  { fault: 'a length in hex', fields: [`Content-Length: 0x${SIZE}`] },
  { fault: 'a length over 64 bits', fields: [`Content-Length: ${'9'.repeat(24)}`] },
  { fault: 'an empty Content-Length', fields: ['Content-Length: '] },
  { fault: 'a length with a space in it', fields: ['Content-Length: 1 2'] },
  { fault: 'a space before the colon of Content-Length', fields: [`Content-Length : ${BODY.length}`] },
  {
    fault: 'a space before the colon of Transfer-Encoding',
    fields: ['Transfer-Encoding : chunked'],
    body: inChunks(SIZE),
  },
  { fault: 'Transfer-Encoding: xchunked', fields: ['Transfer-Encoding: xchunked'], body: inChunks(SIZE) },
  { fault: 'Transfer-Encoding: chunked, identity', fields: [`${CHUNKED}, identity`], body: inChunks(SIZE) },
  { fault: 'Transfer-Encoding: identity', fields: ['Transfer-Encoding: identity'], body: inChunks(SIZE) },
  { fault: 'Transfer-Encoding twice', fields: [CHUNKED, CHUNKED], body: inChunks(SIZE) },
  {
    fault: 'Transfer-Encoding twice, the second odd',
    fields: [CHUNKED, 'Transfer-Encoding: cow'],
    body: inChunks(SIZE),
  },
  { fault: 'Transfer-Encoding: chunked, chunked', fields: [`${CHUNKED}, chunked`], body: inChunks(SIZE) },
  { fault: 'Transfer-Encoding behind a vertical tab', fields: ['Transfer-Encoding:\x0bchunked'], body: inChunks(SIZE) },
  { fault: 'Transfer-Encoding in quotes', fields: ['Transfer-Encoding: "chunked"'], body: inChunks(SIZE) },
  { fault: 'Transfer-Encoding with a parameter', fields: ['Transfer-Encoding: chunked;q=1'], body: inChunks(SIZE) },
  { fault: 'Transfer-Encoding on a folded line', fields: ['Transfer-Encoding:', ' chunked'], body: inChunks(SIZE) },
  { fault: 'a chunk of no number', fields: [CHUNKED], body: inChunks('0x5') },
  { fault: 'a negative chunk', fields: [CHUNKED], body: inChunks('-5') },
  { fault: 'a chunk over 64 bits', fields: [CHUNKED], body: inChunks(`1${'0'.repeat(16)}${SIZE}`) },
  { fault: 'a chunk with a space behind its size', fields: [CHUNKED], body: inChunks(`${SIZE} `) },
  { fault: 'a chunk that is longer than it said', fields: [CHUNKED], body: inChunks(SIZE, `${BODY}XX`) },
  { fault: 'chunks that end in bare LF', fields: [CHUNKED], body: inChunks(SIZE).replaceAll('\r\n', '\n') },
  {
    fault: 'a chunk extension that ends in bare LF',
    fields: [CHUNKED],
    body: inChunks(`${SIZE};a\n`).replace('\n\r\n', '\n'),
  },
  { fault: 'a chunk extension of 20 KB', fields: [CHUNKED], body: inChunks(`${SIZE};a=${'b'.repeat(20_000)}`) },
  { fault: 'a chunk extension without a name', fields: [CHUNKED], body: inChunks(`${SIZE};`) },
  {
    fault: 'Content-Length and Host in the trailers',
    fields: [CHUNKED],
    body: inChunks(SIZE, BODY, 'Content-Length: 5\r\nHost: evil\r\n'),
  },
  { fault: 'a header that goes on in the next line', fields: [LENGTH, 'X: a', ' b'] },
  { fault: 'a bare LF between two headers', fields: [LENGTH, 'X: a\nY: b'] },
  { fault: 'a bare CR in a header', fields: [LENGTH, 'X: a\rY: b'] },
  { fault: 'NUL in a header', fields: [LENGTH, 'X: a\0b'] },
  { fault: 'NUL in the name of a header', fields: [LENGTH, 'X\0: a'] },
  { fault: 'a control character in a header', fields: [LENGTH, 'X: a\x01b'] },
  { fault: 'a space in the name of a header', fields: [LENGTH, 'X Y: a'] },
  { fault: 'a space before the first header', host: ' Host: localhost', fields: [LENGTH] },
  { fault: 'a header without a colon', fields: [LENGTH, 'X'] },
  { fault: 'a header without a name', fields: [LENGTH, ': a'] },
  { fault: 'HTTP/1.10 in the first line', line: 'POST /v1/chat/completions HTTP/1.10', fields: [LENGTH] },
  { fault: 'the preface of HTTP/2', line: 'PRI * HTTP/2.0', fields: [], body: 'SM\r\n\r\n' },
  { fault: 'a space in the target', line: 'GET /hea lth HTTP/1.1', fields: [], body: '' },
  { fault: 'a tab behind the method', line: 'POST\t/v1/chat/completions HTTP/1.1', fields: [LENGTH] },
  { fault: 'a target that is no path', line: 'GET health HTTP/1.1', fields: [], body: '' },
];
for (const [mechanism, table] of [
  ['`listener.ts`', REFUSED_BY_US],
  ['Node’s parser, strict', REFUSED_BY_THE_PARSER],
] as const) {
  for (const { fault, ...bytes } of table) {
    row({ fault, required: 'refused, and the connection closed', mechanism }, () => refused(bytesOf(bytes)));
  }
}

/** One request is answered, and one reaches the engine, in a framing of our own. */
async function readOneWay(bytes: string): Promise<string> {
  const { faulty, client } = await send(bytes);
  await client.until(/\}$/);
  const { engine } = faulty;
  expect(engine.count('inference')).toBe(1);
  const [asked] = engine.asked.filter(({ door }) => door === 'inference');
  expect(asked?.head).toMatch(/^content-length: \d+$/m);
  expect(asked?.head).not.toMatch(/transfer-encoding|upgrade|http2-settings|x-behind|evil/i);
  return `${client.replies.map(({ status }) => status).join(', ')}; one request to the engine, with a length of its own`;
}

row(
  {
    fault: 'Transfer-Encoding: CHUNKED, in capitals',
    required: 'read as the standard says',
    mechanism: 'Node’s parser; `listener.ts` compares without case',
  },
  () => readOneWay(bytesOf({ fields: ['Transfer-Encoding: CHUNKED'], body: inChunks(SIZE) })),
);

row(
  {
    fault: 'a chunk extension in order',
    required: 'read and left out: the engine gets a length',
    mechanism: '`backends/forward.ts` frames every request anew',
  },
  () => readOneWay(bytesOf({ fields: [CHUNKED], body: inChunks(`${SIZE};a=b`) })),
);

row(
  {
    fault: 'headers that only look like framing (Transfer_Encoding, X-Transfer-Encoding)',
    required: 'mean nothing',
    mechanism: 'Node’s parser',
  },
  async () => {
    const { faulty, client } = await send(
      bytesOf({ fields: [LENGTH, 'Transfer_Encoding: chunked', 'X-Content-Length: 3'] }),
    );
    await client.until(/\}$/);
    return `${client.replies[0]?.status}; the engine is asked ${faulty.engine.count('inference') === 1 ? 'once' : 'otherwise'}`;
  },
);

row(
  {
    fault: 'an upgrade to h2c or WebSocket',
    required: 'is not taken, and not passed on',
    mechanism: '`backends/headers.ts` passes nothing that is for one connection',
  },
  () => readOneWay(bytesOf({ fields: [LENGTH, 'Connection: HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMA'] })),
);

row(
  {
    fault: 'a request hidden in the body of a GET',
    required: 'is a body, and nobody’s request',
    mechanism: 'Node’s parser reads bodies by their length',
  },
  async () => {
    const { faulty, client } = await send(
      `GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${BEHIND.length}\r\n\r\n${BEHIND}GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    );
    await client.untilClosed();
    expect(faulty.engine.count('inference')).toBe(0);
    return `${client.replies.map(({ status }) => status).join(', ')}: two answers for two requests`;
  },
);

row(
  {
    fault: 'a body of 2^64 - 1 bytes in one chunk',
    required: '413 at the limit, not at the end',
    mechanism: '`openai/read-body.ts` counts what comes',
  },
  async () => {
    const faulty = await openFaulty({ limits: { bodyBytesMax: 1000 } });
    const head = bytesOf({ fields: [CHUNKED], body: `ffffffffffffffff\r\n${'x'.repeat(2000)}` });
    const client = new BadClient(faulty.running.url).send(head);
    await client.until(/\}$/);
    const { error } = JSON.parse(client.replies[0]?.body ?? '') as { error: { code: string } };
    expect(error.code).toBe('body_too_large');
    return `${client.replies[0]?.status} ${error.code}`;
  },
);

row(
  {
    fault: 'any of it at the admin listener',
    required: 'refused there too, and nothing is done',
    mechanism: '`serve.ts` gives both listeners one door',
  },
  async () => {
    const faulty = await openFaulty();
    const statuses = new Set<number | undefined>();
    for (const { line = 'GET /admin/v1/events HTTP/1.1', fault: _, ...bytes } of REFUSED_BY_US) {
      const client = new BadClient(faulty.running.adminUrl).send(bytesOf({ line, ...bytes }));
      await client.untilClosed();
      statuses.add(client.replies[0]?.status);
    }
    return `${[...statuses].join(' or ')}, connection closed, for each of the ${REFUSED_BY_US.length} above`;
  },
);

row(
  {
    fault: 'nonsense behind a request that is being answered',
    required: 'the connection is broken off: no words of ours pass for the answer, or for a part of it',
    mechanism: '`listener.ts`: who is being answered is told nothing else',
  },
  async () => {
    const faulty = await openFaulty();
    faulty.engine.does('inference', () => {});
    const client = new BadClient(faulty.running.url).send(bytesOf({ fields: [LENGTH] }));
    await until(() => faulty.engine.count('inference') === 1);
    client.send('NONSENSE\r\n\r\n');
    await client.untilClosed();
    await until(() => faulty.running.gateway.inFlight === 0);
    return `${client.heard.length} bytes, connection closed, the engine is let go`;
  },
);
