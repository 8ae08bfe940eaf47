// The commands of docs/evaluations.md, taken from there: what a reader copies is what the suite runs. Only what is the reader's own (the step,
// the address, the task, the tokenizer) is put in.
import { readFile } from 'node:fs/promises';

/** How each begins in the docs, and the words of it that stand for the reader's own. */
export const COMMANDS = {
  loglikelihood: {
    begins: 'lm_eval --model local-completions',
    own: { model: 'my-model@5', url: 'http://127.0.0.1:8080', task: '--tasks arc_easy', tokenizer: 'Qwen/Qwen3-8B' },
  },
  chat: {
    begins: 'lm_eval --model local-chat-completions',
    own: { model: 'my-model@5', url: 'http://127.0.0.1:8080', task: '--tasks gsm8k' },
  },
  inspect: {
    begins: 'GW_API_KEY=none',
    own: { model: 'my-model@5', url: 'http://127.0.0.1:8080', task: 'task.py' },
  },
} as const satisfies Record<string, { begins: string; own: Readonly<Record<string, string>> }>;

type Commands = typeof COMMANDS;

/** @throws where the docs have no such command, or without one of the words */
export async function documented<K extends keyof Commands>(
  key: K,
  own: Readonly<Record<keyof Commands[K]['own'], string>>,
): Promise<string> {
  const { begins, own: words } = COMMANDS[key];
  const text = await readFile(new URL('../../docs/evaluations.md', import.meta.url), 'utf8');
  const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)\n```$/gm)].map(([, block = '']) => block);
  const command = blocks.find((block) => block.startsWith(begins));
  if (command === undefined) throw new Error(`docs/evaluations.md has no command that begins with: ${begins}`);
  return Object.entries(words).reduce((made, [name, word]) => {
    if (!made.includes(word)) throw new Error(`docs/evaluations.md: "${begins} ..." says no more "${word}"`);
    return made.replaceAll(word, (own as Record<string, string>)[name] ?? word);
  }, command);
}
