// POST /v1/messages on the wire, as vLLM 0.32 writes it: Anthropic's events, and no [DONE].
import {
  answerTokens,
  type Body,
  type Choice,
  commonAsk,
  type Exchange,
  event,
  newest,
  numberAt,
  promptTokens,
  templated,
  textOf,
  type Wire,
} from './exchange.ts';
import { missingField } from './refusals.ts';

export const messages: Wire = {
  idPrefix: 'chatcmpl-',
  read: (body) => {
    // The one route where a missing model does not mean the base.
    if (body.model === undefined) throw missingField('model', Object.keys(body).length);
    return {
      ...commonAsk(body),
      n: 1,
      prompts: [promptOf(body)],
      maxTokens: numberAt(body, 'max_tokens'),
      logprobs: false,
      echo: false,
      usage: 'none',
    };
  },
  whole: (exchange) => {
    const [choice] = exchange.choices;
    return {
      ...head(exchange),
      content: [{ type: 'text', text: choice ? textOf(choice) : '' }],
      stop_reason: choice ? reason(choice) : null,
      usage: { input_tokens: promptTokens(exchange), output_tokens: answerTokens(exchange) },
    };
  },
  opening: (exchange) => {
    const usage = { input_tokens: promptTokens(exchange), output_tokens: 0 };
    const message = { ...head(exchange), content: [], stop_reason: null, stop_sequence: null, usage };
    return (
      event('message_start', { message }) +
      event('content_block_start', { content_block: { type: 'text', text: '' }, index: 0 })
    );
  },
  token: (_, choice) =>
    event('content_block_delta', { delta: { type: 'text_delta', text: newest(choice).text }, index: 0 }),
  closing: (exchange) => {
    const [choice] = exchange.choices;
    const usage = { input_tokens: promptTokens(exchange), output_tokens: answerTokens(exchange) };
    const delta = { stop_reason: choice ? reason(choice) : null, stop_sequence: null };
    return (
      event('content_block_stop', { index: 0 }) + event('message_delta', { delta, usage }) + event('message_stop', {})
    );
  },
  failing: (message) => event('error', { error: { type: 'internal_error', message } }),
};

/** Also what `/v1/messages/count_tokens` counts. */
export function promptOf(body: Body): number[] {
  if (!Array.isArray(body.messages)) throw missingField('messages', Object.keys(body).length);
  const system = body.system === undefined ? [] : [{ role: 'system', content: body.system }];
  return templated([...system, ...body.messages]);
}

const head = ({ id, model }: Exchange) => ({ id, type: 'message', role: 'assistant', model });
const reason = (choice: Choice): string => (choice.finish === 'length' ? 'max_tokens' : 'end_turn');
