// Promise: the commands that `npm run test:harness` takes out of docs/evaluations.md are there, and README's loop is the first of them.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { COMMANDS, documented } from '../harness/commands.ts';

const keys = Object.keys(COMMANDS) as (keyof typeof COMMANDS)[];
const own = { model: 'M', url: 'U', task: 'T', tokenizer: 'K' };

test.each(keys)('%s is in the docs, with all that a reader replaces', async (key) => {
  const command = await documented(key, own);
  for (const name of Object.keys(COMMANDS[key].own) as (keyof typeof own)[]) expect(command).toContain(own[name]);
});

test("README's evaluation of several steps is the command of the docs", async () => {
  const { url, task, tokenizer } = COMMANDS.loglikelihood.own;
  const command = await documented('loglikelihood', { model: 'my-model@$step', url, task, tokenizer });
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  expect(readme).toContain(`  ${command.replaceAll('\n', '\n  ')}\ndone`);
});

test('the versions in the docs are those that are installed', () => {
  const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
  const docs = read('../../docs/evaluations.md');
  const pinned = (name: string) =>
    new RegExp(`^${name}==(\\S+)$`, 'm').exec(read('../harness/requirements.txt'))?.[1] ?? 'not pinned';
  expect(docs).toContain(`lm-evaluation-harness (${pinned('lm_eval\\[api\\]')})`);
  expect(docs).toContain(`inspect-ai (${pinned('inspect_ai')})`);
  expect(docs).toContain(`Python ${pinned('openai').split('.').slice(0, 2).join('.')}`);
});
