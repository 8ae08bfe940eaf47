// A pipelined reinforcement-learning loop, with a pretended trainer: while step N+1 trains, step N answers the rollouts, earlier steps are
// evaluated, and old ones are deleted. Needs a gateway (README.md), Node 24 and `npm install openai`; no GPU.
//
// usage: node loop.ts [BASE_URL=http://127.0.0.1:8080/v1] [STEPS=8]
//
// What a real loop changes: `train` and `reward`. All else is the OpenAI SDK.
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import OpenAI from 'openai';

const [baseURL = 'http://127.0.0.1:8080/v1', steps = '8'] = process.argv.slice(2);
const STEPS = Number(steps);
const [MODEL, BATCH, EPISODES, TRAIN_MS] = ['policy', 16, 12, 300] as const;
const client = new OpenAI({ baseURL, apiKey: 'none' });
const runs = await mkdtemp(join(tmpdir(), 'policy-'));

interface Episode {
  /** Who really answered: a bare name moves while the batch is made. */
  readonly step: number;
  readonly reward: number;
  readonly logprobs: readonly number[];
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

// The pretended trainer.

/** As PEFT lays it out: an adapter_config.json, and a safetensors file of a few numbers. @returns its directory */
async function writeAdapter(step: number): Promise<string> {
  const path = join(runs, String(step).padStart(4, '0'));
  await mkdir(path);
  const header: Record<string, object> = {};
  const data: Buffer[] = [];
  for (const [side, shape] of [['A', [4, 64]] as const, ['B', [64, 4]] as const]) {
    const values = Float32Array.from(upTo(256), (index) => Math.sin(step * 1000 + data.length * 256 + index) / 10);
    const at = data.length * values.byteLength;
    const name = `base_model.model.model.layers.0.self_attn.q_proj.lora_${side}.weight`;
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at + values.byteLength] };
    data.push(Buffer.from(values.buffer));
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  await writeFile(join(path, 'adapter_model.safetensors'), Buffer.concat([length, text, ...data]));
  const config = {
    peft_type: 'LORA',
    r: 4,
    lora_alpha: 8,
    target_modules: ['q_proj'],
    base_model_name_or_path: 'base',
  };
  await writeFile(join(path, 'adapter_config.json'), JSON.stringify(config));
  return path;
}

async function train(step: number, _batch: readonly Episode[]): Promise<string> {
  await sleep(TRAIN_MS);
  return writeAdapter(step);
}

const reward = (text: string): number => (createHash('sha256').update(text).digest().readUInt16LE(0) % 1000) / 1000;

// The loop.

async function ask(model: string, prompt: string, kind: 'rollout' | 'eval'): Promise<Episode> {
  const answer = await client.chat.completions.create(
    { model, messages: [{ role: 'user', content: prompt }], max_tokens: 8, logprobs: true },
    { headers: { 'x-stepgate-class': kind } },
  );
  const choice = answer.choices[0];
  return {
    step: Number(answer.model.split('@').at(-1)),
    reward: reward(choice?.message.content ?? ''),
    logprobs: (choice?.logprobs?.content ?? []).map(({ logprob }) => logprob),
  };
}

/** As to vLLM itself. The gateway has its own copy of the files when it answers: ours may go. */
async function publish(step: number, path: string): Promise<void> {
  await client.post('/load_lora_adapter', { body: { lora_name: `${MODEL}@${step}`, lora_path: path } });
  await rm(path, { recursive: true });
}

/** A batch from the newest step: the bare name. */
const rollOut = (number: number): Promise<Episode[]> =>
  Promise.all(upTo(BATCH).map((scene) => ask(MODEL, `batch ${number}, scene ${scene}`, 'rollout')));

/** One step by its name, beside all else. The gateway loads it again where it has lost its slot. */
async function evaluate(step: number): Promise<number> {
  const episodes = await Promise.all(upTo(EPISODES).map((number) => ask(`${MODEL}@${step}`, `exam ${number}`, 'eval')));
  if (episodes.some((episode) => episode.step !== step)) throw new Error(`another step than ${step} answered`);
  return episodes.reduce((sum, episode) => sum + episode.reward, 0) / EPISODES;
}

/** As ART's: all but the latest and the best. @returns what is left */
async function deleteCheckpoints(keep: ReadonlySet<number>): Promise<number[]> {
  const left: number[] = [];
  for await (const { step_number, fine_tuned_model_checkpoint } of client.fineTuning.jobs.checkpoints.list(MODEL)) {
    if (keep.has(step_number)) left.push(step_number);
    else await client.models.delete(fine_tuned_model_checkpoint);
  }
  return left.sort((a, b) => a - b);
}

/** `@4 x7 @5 x9` */
function whoSpoke(batch: readonly Episode[]): string {
  const times = Map.groupBy(batch, ({ step }) => step);
  return Array.from(times, ([step, { length }]) => `@${step} x${length}`).join(' ');
}

async function main(): Promise<void> {
  console.log('step  trained on answers of    exams                 best  kept');
  await publish(0, await writeAdapter(0));
  let [batch, best, left] = [await rollOut(0), 0, [0]];
  for (let step = 1; step <= STEPS; step += 1) {
    // All at once: the next step trains, the newest makes the next batch, and sits an exam together with the best so far.
    const examined = [...new Set([best, step - 1])];
    const [path, next, ...scores] = await Promise.all([train(step, batch), rollOut(step), ...examined.map(evaluate)]);
    best = examined[scores.indexOf(Math.max(...scores))] ?? 0;
    await publish(step, path);
    left = await deleteCheckpoints(new Set([best, step]));
    const exams = examined.map((one, index) => `@${one} ${scores[index]?.toFixed(3)}`).join(' ');
    const kept = left.map((one) => `@${one}`).join(' ');
    const columns = [`${step}`.padStart(4), whoSpoke(batch).padEnd(23), exams.padEnd(20), `@${best}`.padEnd(4), kept];
    console.log(columns.join('  '));
    batch = next;
  }
  console.log(`${STEPS} steps trained, ${left.length} kept: the latest, and the best, which is ${MODEL}@${best}.`);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof OpenAI.APIConnectionError)) throw error;
  console.error(`Nothing answers at ${baseURL}. Start a gateway, or let run.sh do it: ./run.sh node loop.ts`);
  process.exitCode = 1;
} finally {
  await rm(runs, { recursive: true });
}
