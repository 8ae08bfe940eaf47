// POST /v1/completions on the wire, as vLLM 0.32 writes it.
import { detokenize, logprobOf } from './answers.ts';
import {
  type Choice,
  commonAsk,
  DONE,
  type Exchange,
  FINGERPRINT,
  frame,
  newest,
  numberAt,
  promptsOf,
  textOf,
  usageOf,
  type Wire,
} from './exchange.ts';

const MAX_TOKENS = 16;

export const completions: Wire = {
  idPrefix: 'cmpl-',
  read: (body) => ({
    ...commonAsk(body),
    prompts: promptsOf(body.prompt ?? []),
    // An answer has one token at least, even where none was asked for.
    maxTokens: Math.max(1, numberAt(body, 'max_tokens') ?? MAX_TOKENS),
    logprobs: typeof body.logprobs === 'number',
  }),
  whole: (exchange) => ({
    ...head(exchange),
    choices: exchange.choices.map((choice) => wholeChoice(exchange, choice)),
    service_tier: null,
    system_fingerprint: FINGERPRINT,
    usage: { ...usageOf(exchange), prompt_tokens_details: null, completion_tokens_details: null },
    kv_transfer_params: null,
    metrics: null,
  }),
  opening: () => '',
  token: (exchange, choice) => frame(chunk(exchange, choice)),
  closing: (exchange) =>
    exchange.ask.usage === 'none'
      ? DONE
      : frame({ ...head(exchange), choices: [], usage: usageOf(exchange), system_fingerprint: FINGERPRINT }) + DONE,
};

const head = ({ id, createdS, model }: Exchange) => ({ id, object: 'text_completion', created: createdS, model });

function wholeChoice({ ask }: Exchange, choice: Choice) {
  return {
    index: choice.index,
    text: (ask.echo ? detokenize(choice.prompt) : '') + textOf(choice),
    logprobs: ask.logprobs ? logprobs(choice, ask.echo) : null,
    finish_reason: choice.finish,
    stop_reason: null,
    token_ids: ask.tokenIds ? choice.tokens.map(({ id }) => id) : null,
    prompt_logprobs: null,
    prompt_token_ids: ask.tokenIds ? choice.prompt : null,
  };
}

function chunk(exchange: Exchange, choice: Choice) {
  const { ask } = exchange;
  const token = newest(choice);
  const first = choice.tokens.length === 1;
  return {
    ...head(exchange),
    choices: [
      {
        index: choice.index,
        text: (first && ask.echo ? detokenize(choice.prompt) : '') + token.text,
        logprobs: ask.logprobs ? logprobs({ ...choice, tokens: [token] }, false) : null,
        finish_reason: choice.finish ?? null,
        stop_reason: null,
        prompt_token_ids: first && ask.tokenIds ? choice.prompt : null,
        token_ids: ask.tokenIds ? [token.id] : null,
      },
    ],
    ...(ask.usage === 'each' ? { usage: usageOf(exchange) } : {}),
    ...(choice.finish ? { system_fingerprint: FINGERPRINT } : {}),
  };
}

/** With `echo` the prompt's tokens come first, the very first of them without a probability: what harnesses score choices by. */
function logprobs(choice: Choice, echo: boolean) {
  const prompt = echo ? choice.prompt.map((id) => ({ id, text: detokenize([id]) })) : [];
  const tokens = [...prompt, ...choice.tokens];
  let offset = 0;
  const offsets = tokens.map(({ text }) => {
    offset += text.length;
    return offset - text.length;
  });
  const values = tokens.map(({ id }, place) => (echo && place === 0 ? null : logprobOf(choice.digest, id, place)));
  return {
    text_offset: offsets,
    token_logprobs: values,
    tokens: tokens.map(({ text }) => text),
    top_logprobs: tokens.map(({ text }, place) => (values[place] === null ? null : { [text]: values[place] })),
  };
}
