// The directory of results: one file of lines for each step, and a summary. What is there already is not asked for again.
// A line is written whole, as soon as its answer is there, without a sync; one that a crash has torn is dropped at the next start.
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { wrong } from '../terminal.ts';
import type { RequestsFile } from './requests.ts';

/** A line of OpenAI's batch results. `error` for what has no answer that counts. */
export interface ResultLine {
  readonly id: string;
  readonly custom_id: string;
  readonly response: { readonly status_code: number; readonly request_id: string; readonly body: unknown } | null;
  readonly error: { readonly code: string; readonly message: string } | null;
}

export interface StepSum {
  /** Of the weights that answered. */
  readonly checkpoint: string;
  readonly ok: number;
  readonly failed: number;
  readonly tokens: number;
  /** From its first request to its last answer, over all runs. */
  readonly seconds: number;
}

const Sum = z.object({
  checkpoint: z.string(),
  ok: z.number(),
  failed: z.number(),
  tokens: z.number(),
  seconds: z.number(),
});
const Summary = z.object({
  model: z.string(),
  requests: z.object({ file: z.string(), sha256: z.string(), lines: z.number() }),
  steps: z.record(z.string(), Sum),
});
export type Summary = z.output<typeof Summary>;

const Line = z.object({
  custom_id: z.string(),
  response: z.object({ status_code: z.number(), body: z.unknown() }).nullable(),
  error: z.unknown(),
});

export const isOk = ({ response, error }: { response: { status_code: number } | null; error: unknown }): boolean =>
  error === null && response !== null && response.status_code < 400;

/** OpenAI's usage, whichever of its two shapes; 0 where there is none. */
export function tokensOf(body: unknown): number {
  const usage = (body as { usage?: Record<string, unknown> } | null)?.usage ?? {};
  const [total, prompt, completion, input, output] = [
    usage.total_tokens,
    usage.prompt_tokens,
    usage.completion_tokens,
    usage.input_tokens,
    usage.output_tokens,
  ].map((count) => (typeof count === 'number' ? count : 0));
  return total || (prompt ?? 0) + (completion ?? 0) + (input ?? 0) + (output ?? 0);
}

/** What a step has already. */
export interface Done {
  readonly ok: ReadonlySet<string>;
  readonly tokens: number;
}

export class Results {
  readonly directory: string;
  readonly #model: string;
  readonly #requests: RequestsFile;
  readonly #again: boolean;
  #before: Summary | undefined;

  /**
   * Looks only; `prepare` writes.
   * @throws Failure when the directory holds answers to other requests, or its summary cannot be read
   */
  constructor(
    directory: string,
    { model, requests, again }: { model: string; requests: RequestsFile; again: boolean },
  ) {
    this.directory = directory;
    this.#model = model;
    this.#requests = requests;
    this.#again = again;
    this.#before = again ? undefined : this.#readSummary();
    if (this.#before === undefined) return;
    const { sha256, file } = this.#before.requests;
    if (sha256 !== requests.digest || this.#before.model !== model) {
      const what = this.#before.model === model ? `other requests (${file}, or it has changed)` : this.#before.model;
      throw wrong(
        `${directory} holds the answers to ${what}: name another directory with --out, or start over with --again`,
      );
    }
  }

  fileOf(step: number): string {
    return join(this.directory, `${fileName(this.#model)}@${step}.jsonl`);
  }

  get #summaryFile(): string {
    return join(this.directory, 'summary.json');
  }

  #readSummary(): Summary | undefined {
    const text = textOf(this.#summaryFile);
    if (text === undefined) return undefined;
    const parsed = Summary.safeParse(jsonOf(text));
    if (parsed.success) return parsed.data;
    throw wrong(`${this.#summaryFile} is no summary of a sweep: name another directory with --out`);
  }

  /**
   * Answers that are there and right, and were given by these weights. Reads only.
   * @throws Failure when the step was written again since
   */
  doneOf(step: number, checkpoint: string): Done {
    const before = this.#before?.steps[step];
    if (before === undefined) {
      if (!this.#again && existsSync(this.fileOf(step)))
        throw wrong(`${this.fileOf(step)} is there, but not of this sweep: remove it, or start over with --again`);
      return { ok: new Set(), tokens: 0 };
    }
    const { ok, tokens } = this.#read(step);
    if (ok.size > 0 && before.checkpoint !== checkpoint) {
      throw wrong(
        `${this.#model}@${step} was written again since: ${this.fileOf(step)} has answers of its former weights. Remove that file, or start over with --again`,
      );
    }
    return { ok: new Set(ok.keys()), tokens };
  }

  /** The right answers: custom id -> the line as it is. */
  #read(step: number): { ok: Map<string, string>; tokens: number; text: string } {
    const text = textOf(this.fileOf(step)) ?? '';
    const ok = new Map<string, string>();
    let tokens = 0;
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    for (const line of whole.split('\n')) {
      const parsed = Line.safeParse(jsonOf(line));
      if (!parsed.success || !isOk(parsed.data) || ok.has(parsed.data.custom_id)) continue;
      ok.set(parsed.data.custom_id, line);
      tokens += tokensOf(parsed.data.response?.body);
    }
    return { ok, tokens, text };
  }

  /** Makes the directory and the files ready: what is torn, failed or double goes out of them. */
  prepare(steps: ReadonlyMap<number, StepSum>): void {
    mkdirSync(this.directory, { recursive: true });
    for (const step of steps.keys()) {
      if (this.#before?.steps[step] === undefined) {
        rmSync(this.fileOf(step), { force: true });
        continue;
      }
      const { ok, text } = this.#read(step);
      const kept = [...ok.values()].map((line) => `${line}\n`).join('');
      if (kept !== text) writeWhole(this.fileOf(step), kept);
    }
    this.save(steps);
  }

  append(step: number, line: ResultLine): void {
    appendFileSync(this.fileOf(step), `${JSON.stringify(line)}\n`);
  }

  /** Steps of earlier runs stay in the summary. */
  save(steps: ReadonlyMap<number, StepSum>): Summary {
    const { file, digest, requests } = this.#requests;
    const summary = {
      model: this.#model,
      requests: { file, sha256: digest, lines: requests.length },
      steps: { ...this.#before?.steps, ...Object.fromEntries(steps) },
    };
    writeWhole(this.#summaryFile, `${JSON.stringify(summary, null, 2)}\n`);
    this.#before = summary;
    return summary;
  }

  secondsOf(step: number): number {
    return this.#before?.steps[step]?.seconds ?? 0;
  }
}

/** A model's name may be a path. */
export const fileName = (model: string): string => model.replace(/[^\w.-]/g, '_');

function writeWhole(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
