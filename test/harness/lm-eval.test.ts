// lm-evaluation-harness as docs/evaluations.md runs it, against six steps on two slots: each step has the scores that it has alone on the engine.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { documented } from './commands.ts';
import { alone, given, nameOf, openGateway, openSite, type Site, STEPS } from './site.ts';

const TEST_MS = 900_000;
/** Nats of one choice: what an engine may round otherwise while it runs other requests beside. On vLLM 0.32 it was 0. */
const SAME_WITHIN = 0.05;
/** Another step's weights are several off. */
const OTHER_BEYOND = 2;

interface Scored {
  readonly metrics: Readonly<Record<string, number>>;
  /** What was answered for each question: log likelihoods of its choices, or its text. */
  readonly answers: readonly (readonly unknown[])[];
}

/** Asks one step by the documented command. */
type Ask = (step: number, url: string) => Promise<Scored>;

const byLikelihood =
  (site: Site, place: string): Ask =>
  async (step, url) => {
    const { tokenizer } = given;
    const own = { model: nameOf(step), url, task: '--tasks tiny_choice --include_path tasks', tokenizer };
    return evaluate(site, `${place}-${step}`, await documented('loglikelihood', own));
  };

const byWords =
  (site: Site, place: string): Ask =>
  async (step, url) => {
    const own = { model: nameOf(step), url, task: '--tasks tiny_words --include_path tasks' };
    return evaluate(site, `${place}-${step}`, await documented('chat', own));
  };

async function evaluate(site: Site, title: string, command: string): Promise<Scored> {
  await site.run(command.replace('--output_path results', `--output_path '${title}'`), `lm-eval ${title}`);
  const files = await readdir(join(site.dir, title), { recursive: true });
  const read = (pattern: RegExp) =>
    readFile(join(site.dir, title, files.find((file) => pattern.test(file)) ?? ''), 'utf8');
  const { results } = JSON.parse(await read(/results_[^/]*\.json$/)) as {
    results: Record<string, Record<string, unknown>>;
  };
  const [metrics = {}] = Object.values(results);
  const samples = (await read(/samples_[^/]*\.jsonl$/)).trimEnd().split('\n');
  const answers = samples
    .map((line) => JSON.parse(line) as { doc_id: number; filtered_resps: unknown[] })
    .sort((a, b) => a.doc_id - b.doc_id)
    .map(({ filtered_resps }) => filtered_resps.map((answer) => (Array.isArray(answer) ? Number(answer[0]) : answer)));
  const numbers = Object.entries(metrics).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
  return { metrics: Object.fromEntries(numbers), answers };
}

async function eachAlone(ask: Ask): Promise<Map<number, Scored>> {
  const scored = new Map<number, Scored>();
  for (const step of STEPS) scored.set(step, await alone(step, (url) => ask(step, url)));
  return scored;
}

/** All of them at once, as six people would. */
async function allAtOnce(ask: Ask): Promise<Map<number, Scored>> {
  const house = await openGateway();
  return new Map(await Promise.all(STEPS.map(async (step) => [step, await ask(step, house.running.url)] as const)));
}

const likelihoods = (scored: Scored | undefined): number[] => (scored?.answers.flat() ?? []).map(Number);
const gaps = (one: readonly number[], other: readonly number[]) =>
  one.map((value, i) => Math.abs(value - (other[i] ?? Number.NaN)));

test(
  'log likelihoods by token ids: six steps at once on two slots score as each does alone',
  async () => {
    const site = await openSite();
    const wanted = await eachAlone(byLikelihood(site, 'alone'));
    const got = await allAtOnce(byLikelihood(site, 'gateway'));
    for (const step of STEPS) {
      const [mine, theirs] = [likelihoods(got.get(step)), likelihoods(wanted.get(step))];
      expect(mine).toHaveLength(48);
      const gap = Math.max(...gaps(mine, theirs));
      console.log(
        `${nameOf(step)}: acc ${got.get(step)?.metrics['acc,none']}, furthest from alone: ${gap.toFixed(4)} nats`,
      );
      expect(gap, `step ${step}`).toBeLessThan(SAME_WITHIN);
      expect(got.get(step)?.metrics, `step ${step}`).toEqual(wanted.get(step)?.metrics);
      // What makes the lines above say something: a neighbour's weights would be far off.
      for (const other of STEPS.filter((one) => one !== step))
        expect(Math.max(...gaps(mine, likelihoods(wanted.get(other))))).toBeGreaterThan(OTHER_BEYOND);
    }
  },
  TEST_MS,
);

test(
  'chat: six steps at once on two slots answer, word for word, as each does alone',
  async () => {
    const site = await openSite();
    const wanted = await eachAlone(byWords(site, 'alone'));
    const got = await allAtOnce(byWords(site, 'gateway'));
    for (const step of STEPS) expect(got.get(step)?.answers, `step ${step}`).toEqual(wanted.get(step)?.answers);
    expect(new Set([...wanted.values()].map(({ answers }) => JSON.stringify(answers))).size).toBe(STEPS.length);
  },
  TEST_MS,
);
