// inspect-ai as docs/evaluations.md runs it, against six steps on two slots: each step has the scores that it has alone on the engine.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { documented } from './commands.ts';
import { alone, nameOf, openGateway, openSite, type Site, STEPS } from './site.ts';

interface Log {
  readonly status: string;
  readonly eval: { readonly model: string };
  readonly results: { readonly scores: readonly { readonly metrics: { readonly mean: { readonly value: number } } }[] };
  readonly samples: readonly {
    readonly id: number;
    readonly output: { readonly model: string; readonly completion: string };
  }[];
}

interface Scored {
  readonly mean: number;
  readonly answers: readonly string[];
  /** Who answered, as each answer says. */
  readonly models: readonly string[];
}

async function evaluate(site: Site, step: number, { url, place }: { url: string; place: string }): Promise<Scored> {
  const command = await documented('inspect', { model: nameOf(step), url, task: 'tasks/tiny_task.py' });
  const title = `${place}-${step}`;
  await site.run(command.replace('--log-dir logs', `--log-dir ${title}`), `inspect ${title}`);
  const [file = ''] = (await readdir(join(site.dir, title))).filter((name) => name.endsWith('.json'));
  const log = JSON.parse(await readFile(join(site.dir, title, file), 'utf8')) as Log;
  expect(log).toMatchObject({ status: 'success', eval: { model: `openai-api/gw/${nameOf(step)}` } });
  const samples = log.samples.toSorted((a, b) => a.id - b.id);
  return {
    mean: log.results.scores[0]?.metrics.mean.value ?? Number.NaN,
    answers: samples.map(({ output }) => output.completion),
    models: [...new Set(samples.map(({ output }) => output.model))],
  };
}

test('six steps at once on two slots score as each does alone', async () => {
  const site = await openSite();
  const wanted = new Map<number, Scored>();
  for (const step of STEPS) wanted.set(step, await alone(step, (url) => evaluate(site, step, { url, place: 'alone' })));
  const house = await openGateway();
  const through = { url: house.running.url, place: 'gateway' };
  const got = await Promise.all(STEPS.map(async (step) => [step, await evaluate(site, step, through)] as const));
  for (const [step, scored] of got) {
    console.log(`${nameOf(step)}: mean ${scored.mean.toFixed(3)}, "${scored.answers[0]}"`);
    expect(scored, `step ${step}`).toEqual(wanted.get(step));
    expect(scored.models).toEqual([nameOf(step)]);
  }
  expect(new Set(got.map(([, { mean }]) => mean)).size).toBe(STEPS.length);
}, 900_000);
