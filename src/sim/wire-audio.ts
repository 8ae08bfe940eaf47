// POST /v1/audio/transcriptions and /translations on the wire, as vLLM 0.32 writes them: a form in, words out. The answer follows from the
// file's bytes, as that of a chat follows from its words.
import { tokenize } from './answers.ts';
import {
  answerTokens,
  type Choice,
  commonAsk,
  DONE,
  type Exchange,
  frame,
  newest,
  textOf,
  type Wire,
} from './exchange.ts';
import { missingField } from './refusals.ts';

const audio = (idPrefix: string, object: string): Wire => ({
  idPrefix,
  form: true,
  read: (body) => {
    const { file } = body;
    if (!(file instanceof Uint8Array)) throw missingField('file', Object.keys(body).length);
    return {
      ...commonAsk({ ...body, stream: body.stream === 'true' }),
      n: 1,
      prompts: [tokenize(`${file.length} bytes: ${Buffer.from(file.subarray(0, 64)).toString('latin1')}`)],
      maxTokens: undefined,
      logprobs: false,
    };
  },
  whole: (exchange) => ({
    text: exchange.choices.map(textOf).join(''),
    usage: { type: 'duration', seconds: answerTokens(exchange) },
  }),
  opening: () => '',
  token: (exchange, choice) => frame(chunk(exchange, choice, object)),
  closing: () => DONE,
});

const chunk = ({ id, createdS, model }: Exchange, choice: Choice, object: string) => ({
  id,
  object,
  created: createdS,
  model,
  choices: [{ delta: { content: newest(choice).text }, finish_reason: choice.finish ?? null, stop_reason: null }],
  usage: null,
});

export const transcriptions = audio('trsc-', 'transcription.chunk');
export const translations = audio('trsl-', 'translation.chunk');
