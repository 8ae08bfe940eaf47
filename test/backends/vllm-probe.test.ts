// What the driver makes of vLLM's models, metrics and health, and of servers that are no vLLM.
import { describe, expect, test } from 'vitest';
import { adapterCard, card, driverOf, hang, MODELS, models, playing, reset, soon } from './playing.ts';
import { type Reply, standIn } from './stand-in.ts';

const METRICS = `# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.79525377473e+09
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="base"} 3.0
vllm:num_requests_running{engine="1",model_name="base"} 4.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="base"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="base",reason="capacity"} 50.0
# TYPE vllm:lora_requests_info gauge
`;
const info = (slots: number, running: string, at: string) =>
  `vllm:lora_requests_info{max_lora="${slots}",running_lora_adapters="${running}",waiting_lora_adapters=""} ${at}\n`;

const HEALTHY: Record<string, Reply> = {
  'GET /health': { text: '' },
  [MODELS]: models(),
  'GET /metrics': { text: METRICS, type: 'text/plain' },
  'GET /version': { json: { version: '0.32.0' } },
};

describe('a probe', () => {
  test('tells bases from adapters, and reads load, start and version', async () => {
    const { driver } = await playing({
      ...HEALTHY,
      [MODELS]: models(card('alias'), adapterCard('my-model@5', '/data/a')),
    });
    expect(await driver.probe(soon())).toEqual({
      bases: [
        { name: 'base', maxModelLen: 1024, root: '/models/base' },
        { name: 'alias', maxModelLen: 1024, root: '/models/base' },
      ],
      adapters: new Map([['my-model@5', '/data/a']]),
      slots: undefined,
      startedAt: 1795253774.73,
      version: '0.32.0',
      running: 7,
      waiting: 2,
    });
  });

  test.each<[string, string, number | undefined, number | undefined]>([
    ['are unknown before the first step', '', undefined, undefined],
    [
      'are those of the newest series',
      info(2, 'a', '1.7e+09') + info(4, 'a,b', '1.8e+09') + info(3, '', '1.6e+09'),
      undefined,
      4,
    ],
    ['survive names that look like syntax', info(4, String.raw`a} 5 \"x\",b="1`, '1.8e+09'), undefined, 4],
    ['are what the config says, whatever the engine says', info(2, '', '1.8e+09'), 8, 8],
  ])('the slots %s', async (_, series, configured, slots) => {
    const { driver } = await playing({ ...HEALTHY, 'GET /metrics': { text: METRICS + series } }, configured);
    expect((await driver.probe(soon())).slots).toBe(slots);
  });

  test('needs neither metrics nor a version', async () => {
    const { driver } = await playing({ 'GET /health': { text: '' }, [MODELS]: models() });
    expect(await driver.probe(soon())).toMatchObject({
      slots: undefined,
      startedAt: undefined,
      version: undefined,
      running: 0,
    });
  });

  test.each<[string, Record<string, Reply>, RegExp]>([
    [
      'a dead engine',
      { ...HEALTHY, 'GET /health': { status: 503, text: '' } },
      /its engine has died \(GET \/health gave 503\): restart it/,
    ],
    ['another server', {}, /answers, but not as vLLM does \(GET \/v1\/models gave 404\): is the url right\?/],
    [
      'a page for everything',
      { 'GET /health': { text: '<html>', type: 'text/html' }, [MODELS]: { text: '<html>', type: 'text/html' } },
      /gave text\/html of another shape/,
    ],
    [
      'JSON of another shape',
      { ...HEALTHY, [MODELS]: { json: { models: [] } } },
      /gave application\/json of another shape/,
    ],
    ['no health route', { [MODELS]: models() }, /GET \/health gave 404/],
    [
      'a key',
      { ...HEALTHY, [MODELS]: { status: 401, json: { error: 'Unauthorized' } } },
      /asks for an API key.*keyFile. or .keyEnv/,
    ],
    [
      'garbage',
      { ...HEALTHY, [MODELS]: (response) => response.socket?.end('garbage\r\n\r\n') },
      /broke before its answer was whole/,
    ],
  ])('of what does not serve rejects with a sentence: %s', async (_, routes, message) => {
    const { driver } = await playing(routes);
    await expect(driver.probe(soon())).rejects.toThrow(message);
  });

  test('ends at its deadline', async () => {
    const { driver } = await playing({ ...HEALTHY, 'GET /metrics': hang });
    await expect(driver.probe(AbortSignal.timeout(50))).rejects.toThrow(/did not answer in time/);
  });

  test('keeps the path of the url', async () => {
    const under = Object.entries(HEALTHY).map(([route, reply]) => [route.replace(' /', ' /engines/a/'), reply]);
    const engine = await standIn(Object.fromEntries(under));
    const driver = await driverOf(`${engine.url}/engines/a`);
    expect((await driver.probe(soon())).bases).toHaveLength(1);
  });
});

describe('slots that the engine has not told', () => {
  test('are learned by one token of the base', async () => {
    const { engine, driver } = await playing(HEALTHY);
    engine.routes.set('POST /v1/completions', (response) => {
      engine.routes.set('GET /metrics', { text: METRICS + info(6, '', '1.8e+09') });
      response.end('{}');
    });
    const probe = await driver.probe(soon());
    expect(await driver.learnSlots(probe, soon())).toEqual({ slots: 6, note: undefined });
    const { body } = engine.asked.find(({ route }) => route === 'POST /v1/completions') ?? { body: '{}' };
    expect(JSON.parse(body)).toEqual({ model: 'base', prompt: [1], max_tokens: 1 });
  });

  test.each<[string, Record<string, Reply>]>([
    ['it takes no completions', {}],
    ['it gives no metrics', { 'GET /metrics': { status: 404, text: '' }, 'POST /v1/completions': { json: {} } }],
    ['it fails', { 'POST /v1/completions': reset }],
  ])('are taken as one, with a note that says what to set, when %s', async (_, routes) => {
    const { driver } = await playing({ ...HEALTHY, ...routes });
    const probe = await driver.probe(soon());
    expect(await driver.learnSlots(probe, soon())).toEqual({ slots: 1, note: expect.stringContaining('`slots`') });
  });

  test('are not asked for where LoRA is off', async () => {
    const { engine, driver } = await playing({
      ...HEALTHY,
      'GET /metrics': { text: METRICS.replace(/.*lora_requests_info.*\n/, '') },
    });
    const probe = await driver.probe(soon());
    expect(await driver.learnSlots(probe, soon())).toEqual({
      slots: 1,
      note: expect.stringContaining('--enable-lora'),
    });
    expect(engine.asked.map(({ route }) => route)).not.toContain('POST /v1/completions');
  });
});
