// Deployments in front of a real vLLM: each generation parameter, by Hugging Face's name, comes to the very answer that the adapter gives when the
// engine itself is asked in its own words. Run by `npm run test:vllm`.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { GENERATION_KEYS } from '../../src/deployments/generation.ts';
import { predict, refusal } from '../deployments/house.ts';
import { EngineClient } from '../engine/client.ts';
import { type House, setUp, until } from '../gateway/harness.ts';
import { startVllm, type Vllm } from './engine.ts';

const ALONE = 'alone';
const STEP = 20;
const PROMPT = 'Q: hello world\nA:';
const MESSAGES = [{ role: 'user', content: PROMPT }];

interface Said {
  readonly text: string;
  readonly usage: unknown;
}
interface Choice {
  readonly text?: string;
  readonly message?: { readonly content: string };
  readonly token_ids?: readonly number[];
}
interface Completion {
  readonly choices: readonly Choice[];
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number; readonly total_tokens: number };
}

/** What a caller writes, and the same in vLLM's words, written down here by hand. */
interface Row {
  readonly generation: Record<string, unknown>;
  readonly engine: Record<string, unknown>;
  /** What the answer would be without it: it is another, or the row would show nothing. Left out: it changes none. */
  readonly unlike?: Record<string, unknown>;
}

let vllm: Vllm;
let engine: EngineClient;
let rows: readonly Row[];
/** The engine's own answers, as completions and as chats, in the order of `rows`. */
let alone: readonly { readonly text: Said; readonly chat: Said; readonly without: Said | undefined }[];
let house: House;

async function ask(path: string, body: Record<string, unknown>): Promise<Completion> {
  const { status, text } = await engine.post(path, { model: ALONE, ...body });
  if (status !== 200) throw new Error(`${path} ${JSON.stringify(body)}: ${status} ${text}`);
  return JSON.parse(text) as Completion;
}

const said = ({ choices: [choice], usage }: Completion): Said => ({
  text: choice?.message?.content ?? choice?.text ?? '',
  usage: { prompt: usage.prompt_tokens, completion: usage.completion_tokens, total: usage.total_tokens },
});
const completed = (parameters: Record<string, unknown>) => ask('/v1/completions', { prompt: PROMPT, ...parameters });

const GREEDY = { max_tokens: 8, temperature: 0 };
const greedy = { max_new_tokens: 8, temperature: 0 };
const SAMPLED = { max_tokens: 8, temperature: 1, seed: 7 };
const sampled = { max_new_tokens: 8, do_sample: true, seed: 7 };

/** Of a greedy answer: a piece of its text, and one of its tokens. */
function rowsFor(piece: string, token: number): readonly Row[] {
  const neutral = { num_beams: 1, num_beam_groups: 1, num_return_sequences: 1, early_stopping: false };
  const more = { length_penalty: 1, diversity_penalty: 0, typical_p: 1, no_repeat_ngram_size: 0, max_length: null };
  return [
    { generation: greedy, engine: GREEDY, unlike: { temperature: 0 } },
    {
      generation: { max_new_tokens: 8, do_sample: false, temperature: 0.9, seed: 7 },
      engine: GREEDY,
      unlike: { ...SAMPLED, temperature: 0.9 },
    },
    { generation: sampled, engine: SAMPLED, unlike: { ...SAMPLED, seed: 8 } },
    { generation: { ...sampled, temperature: 0.6 }, engine: { ...SAMPLED, temperature: 0.6 }, unlike: GREEDY },
    { generation: { ...sampled, top_p: 0.3 }, engine: { ...SAMPLED, top_p: 0.3 }, unlike: SAMPLED },
    { generation: { ...sampled, top_k: 2 }, engine: { ...SAMPLED, top_k: 2 }, unlike: SAMPLED },
    { generation: { ...sampled, top_k: 0 }, engine: SAMPLED },
    { generation: { ...sampled, top_k: -1 }, engine: SAMPLED },
    { generation: { ...sampled, min_p: 1 }, engine: { ...SAMPLED, min_p: 1 }, unlike: SAMPLED },
    { generation: { ...greedy, repetition_penalty: 3 }, engine: { ...GREEDY, repetition_penalty: 3 }, unlike: GREEDY },
    {
      generation: { ...sampled, repetition_penalty: 0.1 },
      engine: { ...SAMPLED, repetition_penalty: 0.1 },
      unlike: SAMPLED,
    },
    { generation: { ...greedy, presence_penalty: 2 }, engine: { ...GREEDY, presence_penalty: 2 }, unlike: GREEDY },
    { generation: { ...greedy, frequency_penalty: -2 }, engine: { ...GREEDY, frequency_penalty: -2 }, unlike: GREEDY },
    { generation: { ...greedy, stop: piece }, engine: { ...GREEDY, stop: [piece] }, unlike: GREEDY },
    {
      generation: { ...greedy, stop_strings: ['never so', piece] },
      engine: { ...GREEDY, stop: ['never so', piece] },
      unlike: GREEDY,
    },
    { generation: { ...greedy, eos_token_id: token }, engine: { ...GREEDY, stop_token_ids: [token] }, unlike: GREEDY },
    {
      generation: { ...greedy, eos_token_id: [1, token], min_new_tokens: 7 },
      engine: { ...GREEDY, stop_token_ids: [1, token], min_tokens: 7 },
      unlike: { ...GREEDY, stop_token_ids: [1, token] },
    },
    { generation: { ...greedy, pad_token_id: token, bos_token_id: token, ...neutral, ...more }, engine: GREEDY },
  ];
}

beforeAll(async () => {
  vllm = await startVllm();
  engine = new EngineClient(vllm.url);
  await engine.load(ALONE, vllm.checkpoints.get(STEP) ?? '');
  const first = (await completed({ ...GREEDY, return_token_ids: true })).choices[0];
  const { text = '', token_ids: ids = [] } = first ?? {};
  rows = rowsFor(
    text
      .slice(Math.floor(text.length / 2))
      .trim()
      .slice(0, 3),
    ids[3] ?? 0,
  );
  const answers = [];
  for (const { engine: parameters, unlike } of rows)
    answers.push({
      text: said(await completed(parameters)),
      chat: said(await ask('/v1/chat/completions', { messages: MESSAGES, ...parameters })),
      without: unlike && said(await completed(unlike)),
    });
  alone = answers;
  await engine.unload(ALONE);
});
afterAll(() => vllm?.close());
beforeEach(() => engine.unloadAll());

async function openHouse(): Promise<void> {
  house = await setUp({ urls: [vllm.url], runs: vllm.runs, latest: 'published' });
  await until(() => house.running.gateway.registry.catalog.servable().length === vllm.checkpoints.size, 20_000);
}

const deploy = async (wish: Record<string, unknown>) => {
  const made = await house.admin('PUT', '/deployments/tuned', { target: `my-model@${STEP}`, ...wish });
  expect(made).toMatchObject({ status: 200 });
};
const template = 'Q: {prompt}\nA:';
const request = { prompt: 'hello world' };

const predicted = ({ status, body: { response } }: Awaited<ReturnType<typeof predict>>): Said => {
  expect([status, response?.model]).toEqual([200, `my-model@${STEP}`]);
  const usage = response?.usage as Completion['usage'];
  return said({ choices: [{ text: response?.text ?? '' }], usage });
};

test('the rows have every parameter, and each changes the engine’s own answer where it is there to change it', () => {
  const keys = new Set(rows.flatMap(({ generation }) => Object.keys(generation)));
  expect([...keys].sort()).toEqual([...GENERATION_KEYS].sort());
  for (const [at, { text, without }] of alone.entries())
    expect(text, JSON.stringify(rows[at]?.engine)).not.toEqual(without);
});

test('as the defaults of a deployment: a prediction, a chat’s prediction, and OpenAI’s routes answer as the adapter alone', async () => {
  await openHouse();
  for (const [at, { generation }] of rows.entries()) {
    const words = JSON.stringify(generation);
    await deploy({ generation, template });
    expect(predicted(await predict(house, 'tuned', { body: { request } })), words).toEqual(alone[at]?.text);
    const completion = await house.post('/v1/completions', { model: 'tuned', prompt: PROMPT });
    expect(said((await completion.json()) as Completion), words).toEqual(alone[at]?.text);
    const chat = await house.post('/v1/chat/completions', { model: 'tuned', messages: MESSAGES });
    expect(said((await chat.json()) as Completion), words).toEqual(alone[at]?.chat);
    await deploy({ generation, template, chat: true });
    expect(predicted(await predict(house, 'tuned', { body: { request } })), words).toEqual(alone[at]?.chat);
  }
}, 600_000);

test('as the words of a request, over other defaults', async () => {
  await openHouse();
  await deploy({ generation: { max_new_tokens: 3, do_sample: false, stop: ['a'] }, template });
  for (const [at, { generation }] of rows.entries()) {
    const { stop, stop_strings = stop ?? ['never so'], ...others } = generation;
    const asked = await predict(house, 'tuned', { body: { request: { ...request, ...others, stop_strings } } });
    expect(predicted(asked), JSON.stringify(generation)).toEqual(alone[at]?.text);
  }
});

test('what the engine finds wrong is told with its status and in its words', async () => {
  await openHouse();
  await deploy({ generation: { max_new_tokens: 2, min_new_tokens: 5 } });
  expect(refusal(await predict(house, 'tuned', { body: { request } }))).toEqual([
    400,
    expect.any(String),
    expect.stringContaining('min_tokens'),
  ]);
});
