// OpenAI's own SDKs, Python and TypeScript, doing the same things against six steps on two slots. What each does is in its own language.
import { join } from 'node:path';
import OpenAI from 'openai';
import { expect, test } from 'vitest';
import { nameOf, openGateway, openSite, STEPS } from './site.ts';

test('Python: chat, streams, completions, listings, deletion, refusals, a crowd', async () => {
  const site = await openSite();
  const house = await openGateway();
  const script = join(import.meta.dirname, 'openai_sdk.py');
  const said = await site.run(`python '${script}' ${house.running.url}/v1 ${STEPS.join(' ')}`, 'openai (Python)');
  expect(said.trimEnd().split('\n')).toHaveLength(24);
  expect(said).not.toContain('NOT OK');
});

const messages = [{ role: 'user' as const, content: 'hello' }];
const FEW = { messages, max_tokens: 4, temperature: 0 };

test('TypeScript: chat, streams, completions', async () => {
  const { openai } = await openGateway();
  for (const step of STEPS)
    expect((await openai.chat.completions.create({ ...FEW, model: nameOf(step) })).model).toBe(nameOf(step));
  const [first = 0, second = 0] = STEPS;
  const { response } = await openai.chat.completions.create({ ...FEW, model: nameOf(first) }).withResponse();
  expect(response.headers.get('x-stepgate-model')).toBe(nameOf(first));

  const models = new Set<string>();
  for await (const chunk of await openai.chat.completions.create({ ...FEW, model: nameOf(second), stream: true }))
    models.add(chunk.model);
  expect([...models]).toEqual([nameOf(second)]);

  const echoed = await openai.completions.create({
    model: nameOf(first),
    prompt: [5, 6, 7, 8],
    max_tokens: 1,
    logprobs: 1,
    echo: true,
  });
  expect(echoed.choices[0]?.logprobs?.token_logprobs).toHaveLength(5);
});

test('TypeScript: listings, deletion, refusals', async () => {
  const { openai } = await openGateway();
  const listed = [];
  for await (const { id } of openai.models.list()) listed.push(id);
  expect(listed.slice(1)).toEqual(STEPS.map(nameOf));
  const steps = [];
  for await (const one of openai.fineTuning.jobs.checkpoints.list('my-model', { limit: 2 }))
    steps.push(one.step_number);
  expect(steps).toEqual(STEPS.toReversed());

  const [first = 0] = STEPS;
  expect(await openai.models.delete(nameOf(first))).toMatchObject({ id: nameOf(first), deleted: true });
  const ask = (model: string) => openai.chat.completions.create({ ...FEW, model });
  await expect(ask(nameOf(first))).rejects.toMatchObject({ status: 410, code: 'checkpoint_deleted' });
  await expect(ask('my-model@99999')).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  await expect(openai.models.retrieve('nobody')).rejects.toBeInstanceOf(OpenAI.NotFoundError);
});
