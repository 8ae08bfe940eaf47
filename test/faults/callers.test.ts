// Callers that leave, stop or flood at every stage: the engine is let go, memory is bounded, and others are answered meanwhile. That a caller may
// leave on every route is cancel.test.ts's; who is slow to ask, slow-callers.test.ts's.
import { expect } from 'vitest';
import { chunk, json, SSE } from '../backends/forwarding.ts';
import { stopwatch, until } from '../gateway/harness.ts';
import { asking, BadClient, connected } from './bad-client.ts';
import { type Act, DONE, END, event, hang, words } from './bad-engine.ts';
import { type Faulty, openFaulty, openWithStep, slotFree, told } from './faulty.ts';
import { rowsOf } from './row.ts';

const row = rowsOf('callers');
const callerAt = ({ running }: Faulty) => new BadClient(running.url);
const inFlight = ({ running }: Faulty) => running.gateway.inFlight;
const counted = async ({ running }: Faulty, code: string): Promise<number> =>
  Number(
    new RegExp(`requests_total\\{route="/v1/chat/completions",code="${code}"\\} (\\d+)`).exec(
      await running.gateway.metrics.text(),
    )?.[1] ?? 0,
  );

/** The caller goes in this way, and within 100 ms the engine's connection is closed. */
async function letGo(faulty: Faulty, leave: () => void): Promise<string> {
  const { closed } = faulty.engine;
  const sinceLeft = stopwatch();
  leave();
  await until(() => faulty.engine.closed === closed + 1);
  expect(sinceLeft()).toBeLessThan(100);
  await until(async () => (await counted(faulty, 'client_closed')) === 1);
  expect(await faulty.running.gateway.metrics.text()).not.toMatch(/code="(backend|internal|deadline)_\w+"/);
  return `the engine’s request is closed within 100 ms, no failure is counted; ${await slotFree(faulty)}`;
}

for (const { fault, part } of [
  { fault: 'leaves in its head', part: 'POST /v1/chat/completions HTTP/1.1\r\nHost: loc' },
  { fault: 'leaves in its body', part: asking('my-model@5').slice(0, -10) },
]) {
  row(
    { fault, required: 'no engine hears of it, nothing is left', mechanism: '`openai/read-body.ts`; Node’s parser' },
    async () => {
      const faulty = await openWithStep();
      const client = await connected(callerAt(faulty).send(part));
      // Answered on another connection, so that the bytes have been read before the caller leaves.
      await faulty.ask('my-model@5');
      client.leave();
      await faulty.ask('my-model@5');
      return `${faulty.engine.count('inference') - 2} requests to the engine; ${await slotFree(faulty)}`;
    },
  );
}

row(
  {
    fault: 'leaves while its adapter is being loaded',
    required: 'nothing is sent; the load ends and its slot is free',
    mechanism: '`exchange.ts` tells `left`, `router/waiting.ts` forgets it',
  },
  async () => {
    const faulty = await openFaulty();
    await faulty.write(5);
    const loaded = Promise.withResolvers<() => void>();
    faulty.engine.does('load', (socket, { body }) => {
      const { lora_name: name, lora_path: path } = JSON.parse(body) as { lora_name: string; lora_path: string };
      loaded.resolve(() => {
        faulty.engine.adapters.set(name, path);
        socket.write(json(200, 'Success'));
      });
    });
    const client = callerAt(faulty).send(asking('my-model@5'));
    const end = await loaded.promise;
    client.leave();
    await until(() => inFlight(faulty) === 0);
    end();
    const answer = await faulty.ask('my-model@5');
    return `${faulty.engine.count('inference') - 1} requests of it; then ${told(answer)} without another load: ${faulty.engine.count('load')}`;
  },
);

const STREAMS: Act = (socket) => {
  const timer = setInterval(() => socket.write(chunk(event('my-model@5'))), 5);
  socket.write(SSE);
  socket.on('close', () => clearInterval(timer));
};
const LEAVES: readonly { fault: string; act: Act; leave: (client: BadClient) => void; wanted: string }[] = [
  { fault: 'leaves before the answer begins', act: hang, leave: (client) => client.leave(), wanted: '' },
  { fault: 'resets its connection before the answer begins', act: hang, leave: (client) => client.reset(), wanted: '' },
  { fault: 'leaves in the stream', act: STREAMS, leave: (client) => client.leave(), wanted: 'data: ' },
  { fault: 'resets its connection in the stream', act: STREAMS, leave: (client) => client.reset(), wanted: 'data: ' },
  {
    fault: 'closes its side alone, and waits for the answer',
    act: STREAMS,
    leave: ({ socket }) => void socket.end(),
    wanted: 'data: ',
  },
];
for (const { fault, act, leave, wanted } of LEAVES) {
  row(
    {
      fault,
      required: 'the engine’s request is closed within 100 ms, the lease closed, no failure counted',
      mechanism: '`backends/forward.ts`: `close` of the response',
    },
    async () => {
      const faulty = await openWithStep();
      faulty.engine.does('inference', act);
      const client = callerAt(faulty).send(asking('my-model@5', { stream: true }));
      await client.until(wanted);
      await until(() => faulty.engine.count('inference') === 1);
      return letGo(faulty, () => leave(client));
    },
  );
}

row(
  {
    fault: 'reads nothing of a stream of 64 MiB',
    required: 'less than 16 MiB more memory; all of it arrives when it reads again; a pause is not the engine’s fault',
    mechanism: '`backends/forward.ts`: the engine is read as fast as the caller reads',
  },
  async () => {
    const faulty = await openWithStep({ deadlines: { betweenChunksMs: 200, wholeMs: 30_000 } });
    const total = 64 * 1024 * 1024;
    const piece = Buffer.from(chunk(`data: ${'x'.repeat(65_000)}\n\n`));
    let written = 0;
    const stalled = Promise.withResolvers<void>();
    faulty.engine.does('inference', (socket) => {
      socket.write(SSE);
      let quiet: NodeJS.Timeout | undefined;
      const pump = () => {
        clearTimeout(quiet);
        while (written < total) {
          written += piece.length;
          if (socket.write(piece)) continue;
          quiet = setTimeout(stalled.resolve, 300);
          return void socket.once('drain', pump);
        }
        socket.write(chunk(DONE) + END);
      };
      pump();
    });
    const client = callerAt(faulty).send(asking('my-model@5', { stream: true }));
    await client.until('HTTP/1.1 200');
    client.pause();
    const before = bufferedBytes();
    await stalled.promise;
    expect(bufferedBytes() - before).toBeLessThan(16 * 1024 * 1024);
    expect(written).toBeLessThan(total / 2);
    let read = 0;
    client.socket.removeAllListeners('data').on('data', (bytes: Buffer) => {
      read += bytes.length;
    });
    client.socket.resume();
    await until(() => client.heard.length + read > total, 10_000);
    return `under 16 MiB more, less than half is asked of the engine; then all of it; ${await slotFree(faulty)}`;
  },
);

const bufferedBytes = (): number => {
  const { external, arrayBuffers } = process.memoryUsage();
  return external + arrayBuffers;
};

row(
  {
    fault: 'reads nothing, for longer than an answer may take',
    required: 'broken off at the deadline for the whole, and the engine is let go',
    mechanism: '`backends/forward.ts`: who does not read gets no error event',
  },
  async () => {
    const faulty = await openWithStep();
    const piece = chunk(`data: ${'x'.repeat(65_000)}\n\n`);
    faulty.engine.does('inference', (socket) => {
      socket.write(SSE);
      const pump = () => {
        while (socket.write(piece));
        socket.once('drain', pump);
      };
      pump();
    });
    const client = callerAt(faulty).send(asking('my-model@5', { stream: true }));
    await client.until('HTTP/1.1 200');
    client.pause();
    const { closed } = faulty.engine;
    await until(() => faulty.engine.closed > closed);
    await slotFree(faulty);
    const isCounted = (await counted(faulty, 'deadline_exceeded')) === 1;
    client.socket.resume();
    const heard = await client.untilClosed();
    // Nothing was kept for it.
    expect(heard.length).toBeLessThan(16 * 1024 * 1024);
    expect(heard).not.toContain('"code"');
    return `broken off, counted as ${isCounted ? 'deadline_exceeded' : 'something else'}; the slot is free`;
  },
);

row(
  {
    fault: 'sends three requests at once on one connection',
    required: 'three answers in their order, whatever the engine’s order',
    mechanism: 'Node’s server queues answers; `app.ts` takes each by itself',
  },
  async () => {
    const faulty = await openWithStep();
    const order = [60, 30, 0];
    faulty.engine.does(
      'inference',
      ...order.map(
        (ms, index): Act =>
          (socket) => {
            setTimeout(() => socket.write(json(200, words('my-model@5', `answer ${index}`))), ms);
          },
      ),
    );
    const client = callerAt(faulty).send(asking('my-model@5').repeat(3));
    await client.until(/answer 2.*\}$/s);
    const texts = client.replies.map(({ body }) => /answer \d/.exec(body)?.[0]);
    return `${texts.join(', ')}; ${await slotFree(faulty)}`;
  },
);

row(
  {
    fault: 'sends three requests at once, and leaves',
    required: 'all three are let go',
    mechanism: 'Node’s server tells each answer of its connection’s end',
  },
  async () => {
    const faulty = await openWithStep();
    faulty.engine.does('inference', hang);
    const client = callerAt(faulty).send(asking('my-model@5').repeat(3));
    await until(() => faulty.engine.count('inference') === 3);
    const { closed } = faulty.engine;
    client.leave();
    await until(() => faulty.engine.closed === closed + 3);
    return `${await slotFree(faulty)}, all three of the engine’s requests are closed`;
  },
);
