// One request of the demo, and whether the right weights answered it: compared with the file that the trainer wrote.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Answer {
  /** What is wrong with it; undefined for the answer that was asked for. */
  readonly problem: string | undefined;
  /** The adapter that spoke, as its text says: `[my-model@10 sha:1a2b3c4d]`. */
  readonly text: string;
  readonly backend: string;
  readonly why: string;
  readonly tookMs: number;
}

/** The first digits of the weights' SHA-256, as a simulated engine puts them into its answers. */
export async function digestOf(checkpoint: string): Promise<string> {
  const weights = await readFile(join(checkpoint, 'adapter_model.safetensors'));
  return createHash('sha256').update(weights).digest('hex').slice(0, 8);
}

/**
 * @param wanted the checkpoint that must answer, and the digest of its weights
 * @returns never rejects: a failed request is an answer with a problem
 */
export async function ask(url: string, model: string, wanted: { name: string; digest: string }): Promise<Answer> {
  const startedAt = performance.now();
  const none = { text: '', backend: '-', why: '-' };
  try {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Who are you?' }], max_tokens: 4 }),
      signal: AbortSignal.timeout(30_000),
    });
    const body = (await response.json()) as Partial<{
      model: string;
      choices: { message: { content: string } }[];
      error: { message: string };
    }>;
    const tookMs = Math.round(performance.now() - startedAt);
    if (!response.ok) return { ...none, problem: `${response.status}: ${body.error?.message ?? 'no message'}`, tookMs };
    const text = body.choices?.[0]?.message.content ?? '';
    const header = response.headers.get('x-stepgate-model');
    const right = body.model === wanted.name && header === wanted.name && text.includes(`sha:${wanted.digest}`);
    return {
      problem: right
        ? undefined
        : `wanted ${wanted.name} (sha:${wanted.digest}), but got model ${body.model}, header ${header}`,
      text: /^\[[^\]]*\]/.exec(text)?.[0] ?? text,
      backend: response.headers.get('x-stepgate-backend') ?? '-',
      why: response.headers.get('x-stepgate-why') ?? '-',
      tookMs,
    };
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
    return {
      ...none,
      problem: `${error instanceof Error ? error.message : error}${cause}`,
      tookMs: Math.round(performance.now() - startedAt),
    };
  }
}
