// POST /v1/chat/completions/batch on the wire, as vLLM 0.32 writes it: several conversations, one choice each, never streamed.
import type { Wire } from './exchange.ts';
import { missingField } from './refusals.ts';
import { chat } from './wire-chat.ts';

export const batch: Wire = {
  ...chat,
  read: (body) => {
    const { messages } = body;
    if (!Array.isArray(messages)) throw missingField('messages', Object.keys(body).length);
    const asks = messages.map((conversation) => chat.read({ ...body, messages: conversation }));
    const [first] = asks;
    if (first === undefined) throw missingField('messages', 0);
    return { ...first, prompts: asks.flatMap(({ prompts }) => prompts), n: 1, stream: false };
  },
};
