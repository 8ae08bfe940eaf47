// POST /v1/chat/completions on the wire, as vLLM 0.32 writes it.
import { logprobOf, type Token } from './answers.ts';
import {
  type Choice,
  commonAsk,
  DONE,
  type Exchange,
  FINGERPRINT,
  frame,
  newest,
  numberAt,
  templated,
  textOf,
  usageOf,
  type Wire,
} from './exchange.ts';
import { missingField } from './refusals.ts';

export const chat: Wire = {
  idPrefix: 'chatcmpl-',
  read: (body) => {
    if (!Array.isArray(body.messages)) throw missingField('messages', Object.keys(body).length);
    return {
      ...commonAsk(body),
      prompts: [templated(body.messages)],
      maxTokens: numberAt(body, 'max_completion_tokens') ?? numberAt(body, 'max_tokens'),
      logprobs: body.logprobs === true,
      echo: false,
    };
  },
  whole: (exchange) => ({
    ...head(exchange, 'chat.completion'),
    choices: exchange.choices.map((choice) => wholeChoice(exchange, choice)),
    service_tier: null,
    system_fingerprint: FINGERPRINT,
    usage: { ...usageOf(exchange), prompt_tokens_details: null, completion_tokens_details: null },
    prompt_logprobs: null,
    prompt_token_ids: exchange.ask.tokenIds ? exchange.ask.prompts[0] : null,
    kv_transfer_params: null,
    metrics: null,
  }),
  opening: (exchange) =>
    exchange.choices
      .map(({ index }) => ({ index, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null }))
      .map((choice) => frame({ ...chunkHead(exchange), choices: [choice], ...each(exchange) }))
      .join(''),
  token: (exchange, choice) =>
    frame({ ...chunkHead(exchange), choices: [chunkChoice(exchange, choice)], ...each(exchange) }),
  closing: (exchange) =>
    exchange.ask.usage === 'none'
      ? DONE
      : frame({ ...chunkHead(exchange), choices: [], usage: usageOf(exchange), system_fingerprint: FINGERPRINT }) +
        DONE,
};

const head = ({ id, createdS, model }: Exchange, object: string) => ({ id, object, created: createdS, model });
const chunkHead = (exchange: Exchange) => head(exchange, 'chat.completion.chunk');
const each = (exchange: Exchange) => (exchange.ask.usage === 'each' ? { usage: usageOf(exchange) } : {});

function wholeChoice({ ask }: Exchange, choice: Choice) {
  return {
    index: choice.index,
    message: {
      role: 'assistant',
      content: textOf(choice),
      refusal: null,
      annotations: null,
      audio: null,
      function_call: null,
      reasoning: null,
    },
    logprobs: ask.logprobs ? logprobs(choice, choice.tokens) : null,
    finish_reason: choice.finish,
    stop_reason: null,
    token_ids: ask.tokenIds ? choice.tokens.map(({ id }) => id) : null,
  };
}

function chunkChoice({ ask }: Exchange, choice: Choice) {
  const token = newest(choice);
  return {
    index: choice.index,
    delta: { content: token.text },
    logprobs: ask.logprobs ? logprobs(choice, [token]) : null,
    finish_reason: choice.finish ?? null,
    ...(choice.finish ? { stop_reason: null } : {}),
    token_ids: ask.tokenIds ? [token.id] : null,
  };
}

function logprobs(choice: Choice, tokens: readonly Token[]) {
  const content = tokens.map(({ id, text }) => {
    const one = { token: text, logprob: logprobOf(choice.digest, id, 0), bytes: [...Buffer.from(text)] };
    return { ...one, top_logprobs: [one] };
  });
  return { content };
}
