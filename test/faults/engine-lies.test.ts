// An engine that says what is not so, forgets what it held, or is another than a moment ago: nobody is answered by other weights than were asked for.
import { expect } from 'vitest';
import { chunk, json, NO_MODEL } from '../backends/forwarding.ts';
import { until } from '../gateway/harness.ts';
import { type Act, hang, reset, say, sayAndEnd } from './bad-engine.ts';
import { type Faulty, nextAnswered, openFaulty, openWithStep, slotFree, told } from './faulty.ts';
import { rowsOf } from './row.ts';

const lies = rowsOf('lies');
const loads = rowsOf('loads');

const stateOf = ({ running }: Faulty) => {
  const [member] = running.gateway.fleet.members.values();
  if (member === undefined) throw new Error('the gateway has no engine');
  return member;
};

lies(
  {
    fault: 'lists a name of ours under another path',
    required: 'never served from there',
    mechanism: '`fleet.ts` compares what is listed with where the store keeps it',
  },
  async () => {
    const faulty = await openFaulty();
    await faulty.write(5);
    faulty.engine.adapters.set('my-model@5', '/elsewhere/my-model@5');
    faulty.engine.does(
      'load',
      say(json(400, { error: { message: "The lora adapter 'my-model@5' has already been loaded." } })),
    );
    await until(() => stateOf(faulty).foreign.length > 0);
    const answer = await faulty.ask('my-model@5');
    expect(answer.message).toContain('another path');
    expect(faulty.engine.count('inference')).toBe(0);
    return `${told(answer)}, and no request reaches it`;
  },
);

lies(
  {
    fault: 'lists an adapter that it does not know when it is asked',
    required: 'one reload and one more try, then an error: no loop',
    mechanism: '`router/router.ts`: a ticket comes back once',
  },
  async () => {
    const faulty = await openWithStep();
    faulty.engine.does('inference', say(json(404, NO_MODEL)));
    const answer = await faulty.ask('my-model@5');
    const { engine } = faulty;
    expect(engine.count('inference')).toBe(2);
    return `${told(answer)}; ${engine.count('load')} load, asked ${engine.count('inference')} times; ${await nextAnswered(faulty)}`;
  },
);

lies(
  {
    fault: 'has forgotten an adapter, without a restart',
    required: 'one reload, one replay before the first byte: the caller never notices',
    mechanism: '`backends/forward.ts` tells `missing`, `router/router.ts` loads again',
  },
  async () => {
    const faulty = await openWithStep({ probe: { everyMs: 60_000 } });
    faulty.engine.adapters.clear();
    const answer = await faulty.ask('my-model@5');
    expect(answer.headers.get('x-stepgate-why')).toBe('reload');
    return `${told(answer)}; ${faulty.engine.count('load')} load; ${await slotFree(faulty)}`;
  },
);

lies(
  {
    fault: 'has forgotten an adapter, and nobody asks for it meanwhile',
    required: 'noticed by its list of models',
    mechanism: '`fleet.ts` tells the router what is listed, `router/slots.ts` believes it',
  },
  async () => {
    const faulty = await openWithStep();
    const { state } = faulty.running.gateway.router;
    faulty.engine.adapters.clear();
    await until(() => [...state.backends.values()].every(({ held }) => held.size === 0));
    const answer = await faulty.ask('my-model@5');
    return `its slot is free again; then ${told(answer)} after ${faulty.engine.count('load')} load`;
  },
);

lies(
  {
    fault: 'is restarted between two looks, and still lists what it has lost',
    required: 'noticed by `process_start_time_seconds`: down, then up and empty',
    mechanism: '`backends/backend.ts`',
  },
  async () => {
    const faulty = await openWithStep();
    faulty.engine.startedAtS += 60;
    await until(() => faulty.happenings.some((one) => one.type === 'backend' && one.state === 'down'));
    const { about } = faulty.happenings.find((one) => one.type === 'backend' && one.state === 'down') as {
      about: string;
    };
    expect(about).toContain('was restarted');
    await until(() => stateOf(faulty).state === 'up');
    return `down, because it was restarted; then up; ${told(await faulty.ask('my-model@5'))}`;
  },
);

const NO_ENGINE: readonly [fault: string, door: 'models' | 'metrics', act: Act][] = [
  ['lists its models as no JSON', 'models', say(json(200, '<html>'))],
  ['lists its models in another shape', 'models', say(json(200, { data: [{ id: 5 }] }))],
  ['lists its models without end', 'models', endless],
  ['tells its load without end', 'metrics', endless],
  ['resets the question for its models', 'models', reset],
  ['never answers the question for its models', 'models', hang],
  ['answers garbage when it is looked at', 'models', sayAndEnd('garbage\r\n\r\n')],
];
for (const [fault, door, act] of NO_ENGINE) {
  lies(
    {
      fault,
      required: 'it is down, with the reason; and up again when it speaks sense',
      mechanism: '`backends/vllm.ts`, `backends/ask.ts`: bounded in time and bytes',
    },
    async () => {
      const timeoutMs = act === endless ? 60_000 : 300;
      const faulty = await openWithStep({ probe: { everyMs: 50, timeoutMs } });
      faulty.engine.does(door, act);
      await until(() => stateOf(faulty).state === 'down', 10_000);
      if (act === endless) expect(stateOf(faulty).about).toContain('more than');
      const answer = await faulty.ask('my-model@5');
      expect(stateOf(faulty).about.length).toBeGreaterThan(10);
      faulty.engine.does(door);
      await until(async () => (await faulty.ask('my-model@5')).status === 200);
      expect(answer.status).toBe(503);
      return `${told(answer)} while it does; answered again after`;
    },
  );
}

function endless(socket: Parameters<Act>[0]): void {
  socket.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n');
  const piece = chunk('x'.repeat(1024 * 1024));
  const more = () => {
    if (!socket.destroyed) socket.write(piece, () => setImmediate(more));
  };
  more();
}

// -- loads -----------------------------------------------------------------------------------------------------------

async function askedFor(faulty: Faulty, status: number, ...acts: Act[]): Promise<string> {
  await faulty.write(5);
  faulty.engine.does('load', ...acts);
  const answer = await faulty.ask('my-model@5');
  expect(answer.status).toBe(status);
  return told(answer);
}
const loadsOf = ({ engine }: Faulty) => engine.count('load');
/** Takes the adapter, and answers with this. */
const loadAnd =
  (faulty: Faulty, then: Act): Act =>
  (socket, asked) => {
    const { lora_name: name, lora_path: path } = JSON.parse(asked.body) as { lora_name: string; lora_path: string };
    faulty.engine.adapters.set(name, path);
    then(socket, asked);
  };

loads(
  {
    fault: 'a load is done, and its answer is lost',
    required: 'settled by what the engine lists, before the name is used',
    mechanism: '`backends/backend.ts` asks until somebody knows',
  },
  async () => {
    const faulty = await openFaulty();
    const answer = await askedFor(faulty, 200, loadAnd(faulty, reset));
    return `${answer}; ${loadsOf(faulty)} load; ${await slotFree(faulty)}`;
  },
);

loads(
  {
    fault: 'a load is done, and its answer hangs',
    required: 'settled at its deadline by what the engine lists',
    mechanism: '`backends/backend.ts`: `loadMs`, then it looks',
  },
  async () => {
    const faulty = await openFaulty();
    return `${await askedFor(faulty, 200, loadAnd(faulty, hang))}; ${loadsOf(faulty)} load; ${await slotFree(faulty)}`;
  },
);

loads(
  {
    fault: 'a load hangs once, and nothing is loaded',
    required: 'asked for again, and not used before it is known',
    mechanism: '`backends/backend.ts` asks until somebody knows',
  },
  async () => {
    const faulty = await openFaulty();
    const answer = await askedFor(faulty, 200, hang, loadAnd(faulty, say(json(200, 'Success'))));
    return `${answer}; ${loadsOf(faulty)} loads; ${await slotFree(faulty)}`;
  },
);

loads(
  {
    fault: 'every load hangs',
    required: '429 with Retry-After when the wait is over; what is loaded goes on being served',
    mechanism: '`router/waiting.ts`: `waitMsMax`',
  },
  async () => {
    const faulty = await openWithStep({ limits: { waitMsMax: 800 } });
    await faulty.write(6);
    faulty.engine.does('load', hang);
    const waiting = faulty.ask('my-model@6');
    await until(() => loadsOf(faulty) === 1);
    const other = await faulty.ask('my-model@5');
    const answer = await waiting;
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    expect([answer.status, other.status]).toEqual([429, 200]);
    return `${told(answer)} with Retry-After; the other slot meanwhile ${told(other)}`;
  },
);

loads(
  {
    fault: 'a load is acknowledged, and nothing is loaded',
    required: 'one more try, then an error; never the base in its place',
    mechanism: '`backends/forward.ts` tells `missing`; `router/router.ts`: a ticket comes back once',
  },
  async () => {
    const faulty = await openFaulty();
    const answer = await askedFor(faulty, 502, say(json(200, 'Success')));
    return `${answer}; ${loadsOf(faulty)} loads; asked ${faulty.engine.count('inference')} times`;
  },
);

loads(
  {
    fault: 'a load is refused for the adapter’s sake',
    required: '422 in the engine’s words; remembered, and the engine goes on serving others',
    mechanism: '`backends/vllm-refusals.ts`: the adapter’s fault is not its engine’s',
  },
  async () => {
    const faulty = await openWithStep();
    await faulty.write(6);
    const words = "Worker failed with error 'LoRA rank 64 is greater than max_lora_rank 16.', please check";
    faulty.engine.does('load', say(json(500, { error: { message: words } })));
    const answer = await faulty.ask('my-model@6');
    const again = await faulty.ask('my-model@6');
    expect(again.code).toBe(answer.code);
    return `${told(answer)}, ${loadsOf(faulty)} load for two requests; another step ${told(await faulty.ask('my-model@5'))}`;
  },
);

loads(
  {
    fault: 'a load is answered with garbage',
    required: 'settled by what the engine lists',
    mechanism: '`backends/ask.ts` tells `broken`; `backends/backend.ts` looks',
  },
  async () => {
    const faulty = await openFaulty();
    return `${await askedFor(faulty, 200, loadAnd(faulty, sayAndEnd('garbage\r\n\r\n')))}; ${loadsOf(faulty)} load`;
  },
);

loads(
  {
    fault: 'the engine dies in a load',
    required: 'an error at once; the load is not waited for, and no other engine dies of it',
    mechanism:
      '`backends/backend.ts`: a load ends with its engine; `router/quarantine.ts`: its adapter is loaded nowhere',
  },
  async () => {
    const faulty = await openFaulty();
    await faulty.write(5);
    faulty.engine.does('load', () => void faulty.engine.refuse());
    const askedAt = performance.now();
    const answer = await faulty.ask('my-model@5');
    expect(performance.now() - askedAt).toBeLessThan(2000);
    expect(answer.status).toBe(422);
    return told(answer);
  },
);
