// The demo: a pretended trainer writes checkpoints, a client asks for each of them, and every answer is checked against the weights
// that the trainer wrote. Uses only what any client and any trainer can use.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeCheckpoint } from '../../sim/trainer.ts';
import type { DemoOptions } from '../demo.ts';
import { freePort } from '../serve.ts';
import { Failure, type Terminal } from '../terminal.ts';
import { type Answer, ask, digestOf } from './ask.ts';
import { enginesUp, MODEL, type Stage, setStage } from './stage.ts';
import { Story } from './story.ts';

const STEPS = [10, 20, 30, 40, 50, 60];
const WITHIN_MS = 15_000;
/** Between two checkpoints, for a person to read along. */
const PACE_MS = 800;

/** @throws Failure when an answer is wrong or missing */
export async function demo(options: DemoOptions, terminal: Terminal): Promise<void> {
  const stopped = terminal.stopped();
  terminal.out(
    [
      'Two simulated engines with room for 2 adapters each, one gateway in front of',
      `them, and a trainer that writes ${STEPS.length} checkpoints of "${MODEL}". A client asks for`,
      'each; an engine answers with the name and the SHA-256 of the weights it used,',
      'and these must be the ones that the trainer wrote.',
      '',
    ].join('\n'),
  );
  const ports = await choosePorts(options.port, terminal);
  const stage = await setStage(ports);
  const story = new Story(terminal);
  try {
    const played = await Promise.race([
      play(stage, story, options.once ? 0 : PACE_MS),
      stopped.then(() => 'stopped' as const),
    ]);
    if (played === 'stopped') return;
    terminal.out(`\n${summary(played, story)}`);
    if (played.some((answer) => answer.problem !== undefined))
      throw new Failure('the demo failed: see the lines marked WRONG');
    if (options.once) return;
    terminal.out(tryIt(stage));
    await stopped;
  } catch (error) {
    terminal.err(['The last lines of the log of the gateway:', ...stage.logTail()].join('\n'));
    throw error;
  } finally {
    story.close();
    await stage.close();
  }
}

async function choosePorts(asked: number | undefined, terminal: Terminal): Promise<{ listen: number; admin: number }> {
  if (asked === 0) return { listen: 0, admin: 0 };
  const listen = await freePort('127.0.0.1', asked ?? 8080);
  if (asked !== undefined && listen !== asked)
    throw new Failure(`port ${asked} is taken: name another, such as --port ${listen}, or leave --port out`);
  const admin = await freePort('127.0.0.1', listen === 8081 ? 0 : 8081);
  if (asked === undefined && listen !== 8080) terminal.out(`(Port 8080 is taken: the gateway listens on ${listen}.)`);
  if (admin !== 8081) terminal.out(`(Port 8081 is taken: its admin listener is on ${admin}.)`);
  return { listen, admin };
}

/** @returns every answer of the demo, in the order in which they came */
async function play(stage: Stage, story: Story, paceMs: number): Promise<Answer[]> {
  await story.listen(stage.adminUrl);
  await enginesUp(stage.adminUrl, WITHIN_MS);
  story.tell('gateway', `listens at ${stage.url}, in front of gpu-0 and gpu-1`);

  const digests = new Map<number, string>();
  const answers: Answer[] = [];
  const client = async (model: string, step: number) => {
    story.tell('client', `asks ${model}`);
    const answer = await ask(stage.url, model, { name: `${MODEL}@${step}`, digest: digests.get(step) ?? '?' });
    answers.push(answer);
    tellAnswer(story, answer);
  };

  for (const step of STEPS) {
    await writeCheckpoint({ dir: stage.runs, step });
    digests.set(step, await digestOf(join(stage.runs, `checkpoint-${step}`)));
    story.tell('trainer', `wrote checkpoint-${step}`);
    const name = `${MODEL}@${step}`;
    await story.until((it) => it.type === 'registered' && it.checkpoint === name, WITHIN_MS, `${name} was not found`);
    await client(name, step);
    await sleep(paceMs, undefined, { ref: false });
  }
  const [oldest = 0, newest = 0] = [STEPS[0], STEPS.at(-1)];
  await story.until(
    (it) => it.type === 'promoted' && it.checkpoint === `${MODEL}@${newest}`,
    WITHIN_MS,
    `"${MODEL}" did not become ${MODEL}@${newest}`,
  );
  await client(MODEL, newest);
  await client(`${MODEL}@${oldest}`, oldest);
  await client(`${MODEL}@${oldest}`, oldest);
  story.tell('client', `asks for all ${STEPS.length} at once; there is room for 4`);
  await Promise.all(STEPS.map((step) => client(`${MODEL}@${step}`, step)));
  return answers;
}

function tellAnswer(story: Story, { problem, text, backend, why, tookMs }: Answer): void {
  if (problem !== undefined) story.tell(backend, `WRONG: ${problem}`, 'red');
  else
    story.tell(backend, `answers ${text}, ${why === 'resident' ? 'was loaded' : 'now loaded'}; ${tookMs} ms`, 'green');
}

function summary(answers: readonly Answer[], story: Story): string {
  const right = answers.filter(({ problem }) => problem === undefined).length;
  const loads = story.count(({ type }) => type === 'loaded');
  const unloads = story.count(({ type }) => type === 'unloaded');
  return `${right} of ${answers.length} answers came from the step that was asked for; ${loads} loads, ${unloads} evictions.`;
}

function tryIt({ url, adminUrl }: Stage): string {
  const model = `"${MODEL}@${STEPS[1]}"`;
  const messages = '[{"role":"user","content":"Who are you?"}]';
  const say = 'choices[0].message.content';
  return [
    '',
    'It goes on serving; Ctrl-C ends it. Ask it yourself, by curl, Python (pip install openai) or TypeScript (npm install openai):',
    '',
    `curl -s ${url}/v1/chat/completions -H 'content-type: application/json' -d '{"model":${model},"messages":${messages}}'`,
    '',
    `python3 -c 'from openai import OpenAI; print(OpenAI(base_url="${url}/v1", api_key="none").chat.completions.create(model=${model}, messages=${messages}).${say})'`,
    '',
    `node --input-type=module -e 'import OpenAI from "openai"; console.log((await new OpenAI({ baseURL: "${url}/v1", apiKey: "none" }).chat.completions.create({ model: ${model}, messages: ${messages} })).${say})'`,
    '',
    `And see which adapter is where: npx stepgate ps${adminUrl === 'http://127.0.0.1:8081' ? '' : ` --admin ${adminUrl}`}`,
  ].join('\n');
}
