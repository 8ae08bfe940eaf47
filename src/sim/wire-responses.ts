// POST /v1/responses on the wire, as vLLM 0.32 writes it: named events with sequence numbers, and no [DONE].
import {
  answerTokens,
  type Choice,
  commonAsk,
  type Exchange,
  event,
  newest,
  numberAt,
  promptTokens,
  stringAt,
  templated,
  textOf,
  type Wire,
} from './exchange.ts';
import { missingField } from './refusals.ts';

const OPENING_EVENTS = 4;

export const responses: Wire = {
  idPrefix: 'resp_',
  keeps: true,
  read: (body) => {
    const { input } = body;
    if (input === undefined) throw missingField('input', Object.keys(body).length);
    return {
      ...commonAsk(body),
      n: 1,
      prompts: [templated(Array.isArray(input) ? input : [{ role: 'user', content: input }])],
      maxTokens: numberAt(body, 'max_output_tokens'),
      logprobs: false,
      echo: false,
      usage: 'none',
      background: body.background === true,
      previous: stringAt(body, 'previous_response_id'),
    };
  },
  whole: (exchange) => response(exchange, exchange.choices[0]),
  opening: (exchange) =>
    numbered(0, [
      ['created', { response: response(exchange, undefined) }],
      ['in_progress', { response: response(exchange, undefined) }],
      [
        'output_item.added',
        {
          output_index: 0,
          item: { ...message(exchange, ''), content: [], status: 'in_progress' },
        },
      ],
      ['content_part.added', { ...place(exchange), part: part('') }],
    ]),
  token: (exchange, choice) =>
    numbered(OPENING_EVENTS + choice.tokens.length - 1, [
      ['output_text.delta', { ...place(exchange), delta: newest(choice).text, logprobs: [] }],
    ]),
  closing: (exchange) => {
    const [choice] = exchange.choices;
    const text = choice ? textOf(choice) : '';
    return numbered(OPENING_EVENTS + answerTokens(exchange), [
      ['output_text.done', { ...place(exchange), text, logprobs: [] }],
      ['content_part.done', { ...place(exchange), part: part(text) }],
      ['output_item.done', { output_index: 0, item: message(exchange, text) }],
      ['completed', { response: response(exchange, choice) }],
    ]);
  },
};

const numbered = (from: number, events: readonly (readonly [type: string, data: object])[]): string =>
  events.map(([type, data], i) => event(`response.${type}`, { ...data, sequence_number: from + i })).join('');

const itemId = (exchange: Exchange): string => exchange.id.replace('resp_', 'msg_');
const place = (exchange: Exchange) => ({ content_index: 0, item_id: itemId(exchange), output_index: 0 });
const part = (text: string) => ({ type: 'output_text', text, annotations: [], logprobs: null });
const message = (exchange: Exchange, text: string) => ({
  id: itemId(exchange),
  type: 'message',
  role: 'assistant',
  status: 'completed',
  content: [part(text)],
});

const statusOf = ({ finish }: Choice): string =>
  finish === 'abort' ? 'cancelled' : finish === 'length' ? 'incomplete' : 'completed';

/** What is known of it now: the answer, or that it is still being made. */
export const known = (exchange: Exchange): unknown =>
  response(exchange, exchange.choices[0]?.finish === undefined ? undefined : exchange.choices[0]);

/** Without a choice: the answer is still being made. */
function response(exchange: Exchange, choice: Choice | undefined) {
  const { ask } = exchange;
  const cut = choice?.finish === 'length';
  const unfinished = ask.background && exchange.choices.every(({ tokens }) => tokens.length === 0);
  const [input, output] = [promptTokens(exchange), answerTokens(exchange)];
  return {
    id: exchange.id,
    object: 'response',
    created_at: exchange.createdS,
    status: choice === undefined ? (unfinished ? 'queued' : 'in_progress') : statusOf(choice),
    model: exchange.model,
    output: choice ? [message(exchange, textOf(choice))] : [],
    incomplete_details: cut ? { reason: 'max_output_tokens' } : null,
    background: ask.background,
    max_output_tokens: ask.maxTokens ?? null,
    instructions: null,
    metadata: null,
    parallel_tool_calls: true,
    temperature: 1,
    tool_choice: 'none',
    tools: [],
    top_p: 1,
    previous_response_id: ask.previous ?? null,
    truncation: 'disabled',
    usage: choice
      ? {
          input_tokens: input,
          input_tokens_details: { cached_tokens: 0 },
          output_tokens: output,
          output_tokens_details: { reasoning_tokens: 0 },
          total_tokens: input + output,
        }
      : null,
  };
}
