// An engine that fails before a byte of its answer has reached the caller: a clear error, once, and the request is never sent a second time
// unless nothing of it was sent the first time.
import { expect } from 'vitest';
import { chunk, json, SSE } from '../backends/forwarding.ts';
import { until } from '../gateway/harness.ts';
import { type Act, end, hang, reset, say, sayAndEnd, sayAndReset, words } from './bad-engine.ts';
import { ending, type Faulty, nextAnswered, openWithStep, slotFree, stream, told } from './faulty.ts';
import { rowsOf } from './row.ts';

const row = rowsOf('before');

/** The request of one caller, and of whom it was asked how often. */
async function askOnce(faulty: Faulty, act: Act): Promise<string> {
  faulty.engine.does('inference', act);
  const answer = await faulty.ask('my-model@5');
  expect([502, 504]).toContain(answer.status);
  return `${told(answer)}; sent ${sentOften(faulty)}; ${await nextAnswered(faulty)}`;
}

function sentOften({ engine }: Faulty): string {
  const count = engine.count('inference');
  return count === 1 ? 'once' : count === 2 ? 'twice' : `${count} times`;
}

row(
  {
    fault: 'the connection is taken and nothing comes',
    required:
      '504 at the deadline (`firstTokenMs`; `wholeMs` for an answer that is not streamed); the request is closed',
    mechanism: '`backends/deadlines.ts`: one clock for all requests',
  },
  async () => {
    const faulty = await openWithStep();
    faulty.engine.does('inference', hang);
    const askedAt = performance.now();
    const [answer, streamed] = await Promise.all([
      faulty.ask('my-model@5'),
      stream(faulty, 'my-model@5').then((end) => ({ end, tookMs: performance.now() - askedAt })),
    ]);
    expect(streamed.tookMs).toBeGreaterThanOrEqual(300);
    expect(streamed.tookMs).toBeLessThan(900);
    expect(performance.now() - askedAt).toBeGreaterThanOrEqual(900);
    await until(() => faulty.engine.closed >= 2);
    return `${told(answer)}, streamed ${ending(streamed.end)}; both requests are closed; ${await nextAnswered(faulty)}`;
  },
);

const HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 12\r\nx-more: yes\r\n\r\n';

row(
  {
    fault: 'reset at any byte of the head',
    required: '502, and not sent again: the engine may have begun',
    mechanism: '`backends/pool.ts`: bytes of this answer are not those of the one before',
  },
  async () => {
    const faulty = await openWithStep();
    const answers = new Set<string>();
    for (let at = 1; at < HEAD.length; at += 9) {
      faulty.engine.asked.length = 0;
      faulty.engine.does('inference', sayAndReset(HEAD.slice(0, at)));
      const answer = await faulty.ask('my-model@5');
      expect(faulty.engine.count('inference')).toBe(1);
      answers.add(`${told(answer)}; sent ${sentOften(faulty)}`);
      await until(() => faulty.running.gateway.fleet.members.values().next().value?.state === 'up');
    }
    return `${[...answers].join(' or ')}; ${await nextAnswered(faulty)}`;
  },
);

const CLOSES: readonly [fault: string, act: Act][] = [
  ['reset before a byte', reset],
  ['the connection is ended before a byte', end],
];
for (const [fault, act] of CLOSES) {
  row(
    {
      fault,
      required: '502; sent again only when the connection was used before and closed at once: perhaps for idleness',
      mechanism: '`backends/pool.ts`: a connection knows whether it had answered, and was answering',
    },
    async () => askOnce(await openWithStep(), act),
  );
}

const AS_BACKEND_ERROR = {
  required: '502, not sent again',
  mechanism: '`backends/forward.ts`; undici parses strictly',
};
const INSTEAD: readonly [fault: string, act: Act][] = [
  ['reset between head and body', sayAndReset(HEAD)],
  ['bytes that are no HTTP', sayAndEnd('hello?\r\n\r\n')],
  ['another version of HTTP', sayAndEnd('HTTP/3.0 200 OK\r\ncontent-length: 2\r\n\r\n{}')],
  ['both Content-Length and Transfer-Encoding', say(json(200, {}, 'transfer-encoding: chunked\r\n'))],
  ['two Content-Lengths that differ', say(json(200, {}, 'content-length: 7\r\n'))],
  ['a negative Content-Length', say('HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}')],
  ['a Content-Length over 64 bits', say(`HTTP/1.1 200 OK\r\ncontent-length: ${'9'.repeat(30)}\r\n\r\n{}`)],
  ['a header that is continued on the next line', say(json(200, {}, 'x-a: 1\r\n  2\r\n'))],
  ['a header with NUL in it', say(json(200, {}, 'x-a: 1\0 2\r\n'))],
  ['a header without a colon', say(json(200, {}, 'x-a\r\n'))],
  ['a head over 64 KiB', say(json(200, {}, `x-big: ${'x'.repeat(70_000)}\r\n`))],
  [
    'a protocol switch that nobody asked for',
    say('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
  ],
];
for (const [fault, act] of INSTEAD) {
  row({ fault, ...AS_BACKEND_ERROR }, async () => {
    const faulty = await openWithStep();
    const seen = await askOnce(faulty, act);
    expect(seen).toMatch(/^502 backend_error; sent once;/);
    return seen;
  });
}

row(
  {
    fault: 'a head that never ends, a byte at a time',
    required: '504 at the deadline',
    mechanism: '`backends/deadlines.ts`: bytes of a head are no progress',
  },
  async () =>
    askOnce(await openWithStep(), (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nx-a: ');
      const timer = setInterval(() => socket.write('a'), 10);
      socket.on('close', () => clearInterval(timer));
    }),
);

row(
  {
    fault: '"100 Continue" without end',
    required: '502 or 504, not sent again',
    mechanism: '`backends/forward.ts`; undici takes none, for it asked for none',
  },
  async () =>
    askOnce(await openWithStep(), (socket) => {
      const timer = setInterval(() => socket.write('HTTP/1.1 100 Continue\r\n\r\n'), 10);
      socket.on('close', () => clearInterval(timer));
    }),
);

row(
  {
    fault: 'two answers to one request',
    required: 'the second is nobody’s: the next caller gets its own',
    mechanism: 'undici closes a connection that says more than it was asked',
  },
  async () => {
    const faulty = await openWithStep();
    const answer = json(200, words('my-model@5', 'first'));
    faulty.engine.does('inference', say(answer + json(200, words('my-model@5', 'smuggled'))));
    const first = await faulty.ask('my-model@5');
    faulty.engine.does('inference', say(json(200, words('my-model@5', 'second'))));
    const next = await Promise.all(Array.from({ length: 5 }, () => faulty.ask('my-model@5')));
    const texts = new Set(next.map(({ text, code }) => text ?? code));
    expect(first.text).toBe('first');
    return `the caller reads the first answer, the next five ${[...texts].map((text) => `"${text}"`).join(' and ')}`;
  },
);

row(
  {
    fault: 'an answer on an idle connection, before anything is asked',
    required: 'nobody reads it',
    mechanism: 'undici closes a connection that speaks unasked',
  },
  async () => {
    const faulty = await openWithStep();
    faulty.engine.does('inference', (socket) => {
      socket.write(json(200, words('my-model@5', 'asked for')));
      setTimeout(() => socket.write(json(200, words('my-model@5', 'unasked'))), 30);
    });
    await faulty.ask('my-model@5');
    await until(() => faulty.engine.closed === 1);
    faulty.engine.does('inference', say(json(200, words('my-model@5', 'asked for'))));
    const texts = new Set<string | undefined>();
    for (let asked = 0; asked < 5; asked++) texts.add((await faulty.ask('my-model@5')).text);
    return `the next five read ${[...texts].map((text) => `"${text}"`).join(' and ')}`;
  },
);

row(
  {
    fault: "an error of the engine's own (500)",
    required: 'passes as it is, in its own words',
    mechanism: '`backends/forward.ts`',
  },
  async () => {
    const faulty = await openWithStep();
    const body = { error: { message: 'EngineCore died', type: 'InternalServerError', param: null, code: 500 } };
    faulty.engine.does('inference', say(json(500, body)));
    const answer = await faulty.ask('my-model@5');
    expect(answer.message).toBe('EngineCore died');
    return `${answer.status} "${answer.message}"; ${await nextAnswered(faulty)}`;
  },
);

row(
  {
    fault: 'an error answer without end, where it must be understood first (404)',
    required: 'passes through as it comes, up to the deadline; memory is bounded',
    mechanism: '`backends/forward.ts`: at most 64 KiB are collected',
  },
  async () => {
    const faulty = await openWithStep();
    let written = 0;
    faulty.engine.does('inference', (socket) => {
      socket.write('HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n');
      const more = () => {
        if (socket.destroyed) return;
        written += 16_384;
        socket.write(chunk('x'.repeat(16_384)), () => setTimeout(more, 5));
      };
      more();
    });
    const streamed = await stream(faulty, 'my-model@5');
    expect(streamed.text.length).toBeGreaterThan(65_536);
    expect(written).toBeGreaterThan(65_536);
    expect(streamed.isBroken).toBe(true);
    return `${streamed.status}, broken off at \`wholeMs\`; ${await nextAnswered(faulty)}`;
  },
);

row(
  {
    fault: 'a held stream whose engine then fails without a word',
    required: 'an error event: the status is out already',
    mechanism: '`exchange.ts` ends what it has begun',
  },
  async () => {
    const faulty = await openWithStep({ scheduling: { commentEveryMs: 20 } });
    faulty.engine.adapters.clear();
    faulty.engine.does('load', (socket, { body }) => {
      const { lora_name: name, lora_path: path } = JSON.parse(body) as { lora_name: string; lora_path: string };
      faulty.engine.adapters.set(name, path);
      setTimeout(() => socket.write(json(200, 'Success')), 150);
    });
    await until(() => faulty.running.gateway.router.state.backends.values().next().value?.held.size === 0);
    faulty.engine.does('inference', reset);
    const streamed = await stream(faulty, 'my-model@5');
    expect(streamed.text).toMatch(/^: my-model@5 waits/);
    return `comments, then ${ending(streamed)}; ${await slotFree(faulty)}`;
  },
);

row(
  {
    fault: 'the stream’s head alone, then a reset',
    required: 'an error event, no [DONE]',
    mechanism: '`backends/forward.ts`: the head was passed on at once',
  },
  async () => {
    const faulty = await openWithStep();
    faulty.engine.does('inference', sayAndReset(SSE));
    const streamed = ending(await stream(faulty, 'my-model@5'));
    return `${streamed}; ${await nextAnswered(faulty)}`;
  },
);
