// An engine that fails when a part of its answer is out: the caller can tell that it is not whole, and the engine is let go.
import { expect } from 'vitest';
import { chunk, json, SSE } from '../backends/forwarding.ts';
import { until } from '../gateway/harness.ts';
import { type Act, DONE, END, event, hang, say, sayAndEnd, sayAndReset, trickle, words } from './bad-engine.ts';
import { DEADLINES, ending, nextAnswered, openWithStep, slotFree, stream, told } from './faulty.ts';
import { rowsOf } from './row.ts';

const row = rowsOf('stream');
/** So that no other deadline is the one that is seen. */
const LONG = { deadlines: { ...DEADLINES, wholeMs: 60_000 } };
const ERROR_AT_THE_END = /^an error event \w+, no \[DONE\]$/;
const FIRST = event('my-model@5', 'one');
const BEGUN = `${SSE}${chunk(FIRST)}`;
const WHOLE = `${BEGUN}${chunk(event('my-model@5', 'two'))}${chunk(DONE)}${END}`;

const BREAKS: readonly { fault: string; act: Act; mechanism: string }[] = [
  { fault: 'a stream stalls', act: say(BEGUN), mechanism: '`backends/deadlines.ts`: `betweenChunksMs`' },
  { fault: 'a stream is reset between two events', act: sayAndReset(BEGUN), mechanism: '`backends/forward.ts`' },
  {
    fault: 'a stream is reset in the middle of a chunk',
    act: sayAndReset(`${BEGUN}40\r\ndata: {"cho`),
    mechanism: '`backends/forward.ts`: the cut event is closed first',
  },
  { fault: 'a stream ends without its last chunk', act: sayAndEnd(BEGUN), mechanism: '`backends/forward.ts`' },
  { fault: 'a chunk of no size', act: sayAndEnd(`${BEGUN}zz\r\nhello\r\n`), mechanism: 'undici refuses it' },
  {
    fault: 'a chunk over 64 bits',
    act: sayAndEnd(`${BEGUN}fffffffffffffffff\r\nhello`),
    mechanism: 'undici refuses it',
  },
  { fault: 'a chunk longer than it said', act: say(`${BEGUN}4\r\ndata: x\r\n`), mechanism: 'undici refuses it' },
  {
    fault: 'a stream gives the answer up: `"finish_reason":"abort"`, as an engine that stops does',
    act: say(
      `${BEGUN}${chunk(event('my-model@5').replace('}]}', '},"finish_reason":"abort"}]}'))}${chunk(DONE)}${END}`,
    ),
    mechanism: '`backends/forward.ts`: bare bytes are looked for',
  },
];
for (const { fault, act, mechanism } of BREAKS) {
  row({ fault, required: 'an error event, then the end; no [DONE], not sent again', mechanism }, async () => {
    const faulty = await openWithStep(LONG);
    faulty.engine.does('inference', act);
    const streamed = await stream(faulty, 'my-model@5');
    expect(streamed.text.startsWith(FIRST)).toBe(true);
    expect(faulty.engine.count('inference')).toBe(1);
    expect(ending(streamed)).toMatch(ERROR_AT_THE_END);
    return `what had come, then ${ending(streamed)}; ${await nextAnswered(faulty)}`;
  });
}

row(
  {
    fault: 'a stream is reset, at every ninth byte of it',
    required: 'never a [DONE] that the engine had not said, and exactly one error',
    mechanism: '`backends/forward.ts`: one end, whatever it is',
  },
  async () => {
    const faulty = await openWithStep({ probe: { everyMs: 60_000 } });
    const endings = new Set<string>();
    for (let at = SSE.length; at < WHOLE.indexOf('[DONE]'); at += 9) {
      faulty.engine.does('inference', sayAndReset(WHOLE.slice(0, at)));
      endings.add(ending(await stream(faulty, 'my-model@5')));
    }
    for (const one of endings) expect(one).toMatch(ERROR_AT_THE_END);
    return `${[...endings].join(' or ')}; ${await nextAnswered(faulty)}`;
  },
);

row(
  {
    fault: 'a stream that never ends',
    required: 'an error event at the deadline for the whole, and the engine is let go',
    mechanism: '`backends/deadlines.ts`: `wholeMs`',
  },
  async () => {
    const faulty = await openWithStep();
    faulty.engine.does('inference', (socket) => {
      socket.write(SSE);
      const timer = setInterval(() => socket.write(chunk(FIRST)), 50);
      socket.on('close', () => clearInterval(timer));
    });
    const { closed } = faulty.engine;
    const streamed = await stream(faulty, 'my-model@5');
    await until(() => faulty.engine.closed > closed);
    return `${ending(streamed)}; its connection is closed; ${await nextAnswered(faulty)}`;
  },
);

row(
  {
    fault: 'a stream that trickles, a byte in each packet',
    required: 'arrives whole',
    mechanism: '`backends/forward.ts` streams bytes, not events',
  },
  async () => {
    const faulty = await openWithStep();
    faulty.engine.does('inference', trickle(WHOLE));
    const streamed = await stream(faulty, 'my-model@5');
    expect(streamed.text).toBe(FIRST + event('my-model@5', 'two') + DONE);
    return `every byte, ${ending(streamed)}; ${await slotFree(faulty)}`;
  },
);

row(
  {
    fault: 'a stream with 200 and an error event, as vLLM ends one that fails',
    required: 'passes as it came: the error is the caller’s to read',
    mechanism: '`backends/forward.ts`',
  },
  async () => {
    const faulty = await openWithStep();
    const error = `data: ${JSON.stringify({ error: { message: 'out of memory', type: 'InternalServerError', code: 500 } })}\n\n`;
    faulty.engine.does('inference', say(`${BEGUN}${chunk(error)}${chunk(DONE)}${END}`));
    const streamed = await stream(faulty, 'my-model@5');
    expect(streamed.text).toBe(FIRST + error + DONE);
    return `every byte, ${ending(streamed)}; ${await slotFree(faulty)}`;
  },
);

row(
  {
    fault: 'a stream that ends in order, but without [DONE]',
    required: 'no [DONE] is made up',
    mechanism: '`backends/forward.ts` adds nothing to an answer that is whole',
  },
  async () => {
    const faulty = await openWithStep();
    faulty.engine.does('inference', say(BEGUN + END));
    return `${ending(await stream(faulty, 'my-model@5'))}; ${await slotFree(faulty)}`;
  },
);

const JSON_HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n';
const CUT: readonly { fault: string; act: Act; mechanism: string }[] = [
  {
    fault: 'an answer shorter than its Content-Length',
    act: sayAndReset(`${JSON_HEAD}content-length: 500\r\n\r\n{"id":"x",`),
    mechanism: '`backends/forward.ts`: broken off, for it must not look whole',
  },
  {
    fault: 'a chunked answer that ends without its last chunk',
    act: sayAndEnd(`${JSON_HEAD}transfer-encoding: chunked\r\n\r\n${chunk('{"id":"x",')}`),
    mechanism: '`backends/forward.ts`: broken off, for it must not look whole',
  },
  {
    fault: 'an answer that stalls in the middle',
    act: say(`${JSON_HEAD}content-length: 500\r\n\r\n{"id":"x",`),
    mechanism: '`backends/deadlines.ts`: `betweenChunksMs`',
  },
];
for (const { fault, act, mechanism } of CUT) {
  row({ fault, required: 'the connection is broken off: it must not look whole', mechanism }, async () => {
    const faulty = await openWithStep(LONG);
    faulty.engine.does('inference', act);
    const streamed = await stream(faulty, 'my-model@5');
    expect(streamed).toMatchObject({ text: '{"id":"x",', isBroken: true });
    return `${ending(streamed)}; ${await nextAnswered(faulty)}`;
  });
}

row(
  {
    fault: 'an answer longer than its Content-Length',
    required: 'the caller reads what was announced, nobody reads the rest',
    mechanism: 'undici closes a connection that says more than it was asked',
  },
  async () => {
    const faulty = await openWithStep();
    faulty.engine.does(
      'inference',
      say(`${json(200, words('my-model@5'))}HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx`),
    );
    const answer = await faulty.ask('my-model@5');
    expect(answer.text).toBe('hello');
    return `${told(answer)}; ${await nextAnswered(faulty)}`;
  },
);

row(
  {
    fault: 'an answer that is given up: `"finish_reason":"abort"`, not streamed',
    required: '502: half an answer must not pass for a whole one',
    mechanism: '`backends/forward.ts`: bare bytes are looked for',
  },
  async () => {
    const faulty = await openWithStep();
    const { choices, ...rest } = words('my-model@5');
    const body = { ...rest, choices: choices.map((choice) => ({ ...choice, finish_reason: 'abort' })) };
    faulty.engine.does('inference', say(json(200, body)));
    const answer = await faulty.ask('my-model@5');
    expect(answer.message).toContain('gave the answer up');
    return `${told(answer)}; ${await nextAnswered(faulty)}`;
  },
);

row(
  {
    fault: 'a text that speaks of an answer that was given up',
    required: 'is an answer like any other',
    mechanism: '`backends/forward.ts`: inside of a text every quote is escaped',
  },
  async () => {
    const faulty = await openWithStep();
    faulty.engine.does('inference', say(json(200, words('my-model@5', '{"finish_reason":"abort"}'))));
    const answer = await faulty.ask('my-model@5');
    return `${told(answer)} with ${answer.text}`;
  },
);

row(
  {
    fault: 'an answer in a content-encoding that nobody asked for',
    required: 'the right name or an error: where the name must be found in it, 502',
    mechanism: '`backends/forward.ts`, `backends/headers.ts`',
  },
  async () => {
    const faulty = await openWithStep();
    faulty.engine.does('inference', hang);
    const encoded = 'HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\ngzip';
    faulty.engine.does('inference', say(encoded));
    const response = await faulty.post('/v1/embeddings', { model: 'my-model@5', input: 'hi' });
    const { error } = (await response.json()) as { error: { code: string } };
    return `${response.status} ${error.code} where the base's name is echoed; ${await nextAnswered(faulty)}`;
  },
);
