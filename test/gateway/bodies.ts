// A small request for every route of the table, as its clients send it. A test that goes over all routes goes over these.
import { ROUTES, type Route } from '../../src/openai/routes.ts';

const MESSAGES = [{ role: 'user', content: 'hi' }];
const CHAT = { messages: MESSAGES, max_tokens: 8 };

export const JSON_BODIES: Readonly<Record<string, Record<string, unknown>>> = {
  '/v1/chat/completions': CHAT,
  '/v1/chat/completions/batch': { messages: [MESSAGES, MESSAGES], max_tokens: 8 },
  '/v1/completions': { prompt: 'hi', max_tokens: 8 },
  '/v1/responses': { input: 'hi', max_output_tokens: 8 },
  '/v1/messages': CHAT,
  '/v1/messages/count_tokens': CHAT,
  '/cohere/v2/chat': CHAT,
  '/generative_scoring': { query: 'is it?', items: ['a', 'b'], label_token_ids: [5, 6] },
  '/v1/systemone': { state: 'it rains', questions: { wet: { type: 'bool' } } },
  '/v1/embeddings': { input: 'hi' },
  '/v2/embed': { texts: ['hi'], input_type: 'search_query' },
  '/pooling': { input: 'hi' },
  '/classify': { input: 'hi' },
  '/score': { text_1: 'a', text_2: ['b', 'c'] },
  '/v1/score': { queries: 'a', documents: ['b', 'c'] },
  '/rerank': { query: 'a', documents: ['b', 'c'] },
  '/v1/rerank': { query: 'a', documents: ['b', 'c'] },
  '/v2/rerank': { query: 'a', documents: ['b', 'c'] },
  '/inference/v1/generate': { token_ids: [5, 6, 7], sampling_params: { max_tokens: 2 } },
  '/v1/chat/completions/render': CHAT,
  '/v1/completions/render': { prompt: 'hi' },
  '/v1/messages/render': CHAT,
  '/v1/responses/render': { input: 'hi' },
  '/cohere/v2/chat/render': CHAT,
  '/v1/chat/completions/derender': { generate_response: { request_id: 'x', choices: [] } },
  '/v1/completions/derender': { generate_response: { request_id: 'x', choices: [] } },
  '/tokenize': { prompt: 'hi' },
  '/detokenize': { tokens: [107, 108] },
};

/** What the simulated engine, started as the real one is by default, does not do: the status that it answers instead. */
export const NOT_DONE: Readonly<Record<string, number>> = {
  '/cohere/v2/chat': 404,
  '/v1/systemone': 501,
  ...Object.fromEntries(
    ROUTES.filter(({ path }) => /render$|^\/inference\//.test(path)).map(({ path }) => [path, 403]),
  ),
};

export function requestFor({ path, body }: Route, model: string, more: object = {}): RequestInit {
  const controls = { method: 'POST' };
  if (body === 'json') {
    const text = JSON.stringify({ model, ...JSON_BODIES[path], ...more });
    return { ...controls, headers: { 'content-type': 'application/json' }, body: text };
  }
  const form = new FormData();
  form.set('file', new Blob([Buffer.alloc(2000, 'RIFF')]), 'speech.wav');
  form.set('model', model);
  for (const [name, value] of Object.entries(more)) form.set(name, String(value));
  return { ...controls, body: form };
}
