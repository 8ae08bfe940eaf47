// Callers that are slow to say what they want, or never do: a connection costs little, and not for long. Others are answered meanwhile.
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { makeCertificate } from '../access/certificate.ts';
import { until } from '../gateway/harness.ts';
import { asking, BadClient, connected, request } from './bad-client.ts';
import { DEADLINES, type Faulty, openFaulty, openWithStep, told } from './faulty.ts';
import { rowsOf } from './row.ts';

const row = rowsOf('callers');
const callerAt = ({ running }: Faulty) => new BadClient(running.url);

const MANY = 300;
const TOLD = '408 request_timeout';

/** So many connections that send this, then a byte now and then; resolves to what they heard when the last is closed. */
async function lorises(
  faulty: Faulty,
  { bytes, drip }: { bytes: string; drip: string },
  limitMs: number,
): Promise<string> {
  const clients = await Promise.all(Array.from({ length: MANY }, () => connected(callerAt(faulty))));
  const begunAt = performance.now();
  for (const client of clients) client.send(bytes);
  const dripping = setInterval(() => {
    for (const client of clients) if (drip !== '' && !client.closed) client.send(drip);
  }, 50);
  const meanwhile = await faulty.ask('my-model@5');
  const heard = await Promise.all(clients.map((client) => client.untilClosed()));
  clearInterval(dripping);
  expect(performance.now() - begunAt).toBeLessThan(2 * limitMs);
  expect(performance.now() - begunAt).toBeGreaterThan(limitMs / 2);
  const statuses = new Set(
    heard.map((text) => /^HTTP\/1\.1 (\d+).*"code":"(\w+)"/s.exec(text)?.slice(1).join(' ') ?? 'nothing'),
  );
  await until(() => faulty.running.gateway.inFlight === 0);
  // Which of the two clocks is first is chance where nothing was sent; and who still sends when it is closed may be reset before it has read.
  expect([TOLD, 'nothing']).toEqual(expect.arrayContaining([...statuses]));
  if (drip !== '') expect(statuses).toContain(TOLD);
  const words = drip === '' ? `${TOLD} or nothing` : TOLD;
  return `${MANY} closed within twice the limit, told ${words}; others meanwhile ${told(meanwhile)}`;
}

/** So that the limit of the head is the only one that is near. */
const HEAD_LIMITS = { headMsMax: 1000 };
const BODY_LIMITS = { headMsMax: 1000, bodyMsMax: 500, waitMsMax: 500 };
const HEAD_OF_A_BODY = request('POST /v1/chat/completions', ['Content-Type: application/json', 'Content-Length: 5000']);
const LORISES = [
  {
    fault: '300 connections that send nothing',
    bytes: '',
    drip: '',
    limit: '`limits.headMsMax`',
    limits: HEAD_LIMITS,
    limitMs: 1000,
  },
  {
    fault: '300 heads, a byte at a time (slow loris)',
    bytes: 'GET /health HTTP/1.1\r\nHost: localhost\r\nX: ',
    drip: 'x',
    limit: '`limits.headMsMax`',
    limits: HEAD_LIMITS,
    limitMs: 1000,
  },
  {
    fault: '300 bodies, a byte at a time',
    bytes: `${HEAD_OF_A_BODY}{`,
    drip: ' ',
    limit: '`limits.headMsMax` + `waitMsMax` + `bodyMsMax`',
    limits: BODY_LIMITS,
    limitMs: 2000,
  },
];
for (const { fault, limit, limits, limitMs, ...what } of LORISES) {
  row(
    {
      fault,
      required: 'closed within twice the limit; others are answered',
      mechanism: `\`listener.ts\`: ${limit}`,
    },
    async () => lorises(await openWithStep({ limits, deadlines: { ...DEADLINES, wholeMs: 10_000 } }), what, limitMs),
  );
}

row(
  {
    fault: '50 TLS handshakes that never end',
    required: 'closed within twice the limit',
    mechanism: '`serve.ts`: `limits.headMsMax` for the handshake too',
  },
  async () => {
    const { cert, key } = makeCertificate();
    const dir = mkdtempSync(join(tmpdir(), 'stepgate-faults-'));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    const tls = { certFile: join(dir, 'a.crt'), keyFile: join(dir, 'a.key') };
    writeFileSync(tls.certFile, cert);
    writeFileSync(tls.keyFile, key);
    const faulty = await openFaulty({ limits: HEAD_LIMITS, tls });
    const clients = await Promise.all(Array.from({ length: 50 }, () => connected(callerAt(faulty))));
    const begunAt = performance.now();
    // The beginning of a ClientHello.
    for (const client of clients) client.send('\x16\x03\x01\x02\x00\x01');
    await Promise.all(clients.map((client) => client.untilClosed()));
    expect(performance.now() - begunAt).toBeLessThan(2 * HEAD_LIMITS.headMsMax);
    return '50 closed within twice the limit';
  },
);

row(
  {
    fault: 'a connection that stays idle between two requests',
    required: 'is kept, for longer than load balancers keep theirs',
    mechanism: '`listener.ts`: the limit of a head begins with its first byte',
  },
  async () => {
    const faulty = await openWithStep({ limits: { headMsMax: 300 } });
    const client = callerAt(faulty).send(asking('my-model@5'));
    await client.until(/\}$/);
    await once(client.socket, 'data', { signal: AbortSignal.timeout(1000) }).catch(() => {});
    client.send(asking('my-model@5'));
    await until(() => client.replies.length === 2 || client.closed);
    return `${client.replies.map(({ status }) => status).join(', then ')} three limits later; ${client.replies[0]?.headers.get('keep-alive')} is told`;
  },
);

const sockets = () => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;

row(
  {
    fault: 'a refused caller never closes its side',
    required: 'reads why; its connection is gone after a second',
    mechanism: '`listener.ts` lingers',
  },
  async () => {
    const faulty = await openFaulty({ probe: { everyMs: 60_000 } });
    const client = await connected(callerAt(faulty));
    client.socket.allowHalfOpen = true;
    const before = sockets();
    client.send('CONNECT evil:80 HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await client.untilClosed();
    await until(() => sockets() < before);
    return `told ${client.replies[0]?.status}, its connection is gone`;
  },
);
