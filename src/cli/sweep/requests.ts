// The file of requests: JSONL, each line a body, or a line of OpenAI's batch files. Read and checked whole before anything runs.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { ROUTES } from '../../openai/routes.ts';
import { wrong } from '../terminal.ts';

export interface SweepRequest {
  /** The line's own, or `line-N`; unique in the file. */
  readonly customId: string;
  readonly path: string;
  /** Without `model`: each step puts its own in. */
  readonly body: Readonly<Record<string, unknown>>;
}

export interface RequestsFile {
  readonly file: string;
  /** SHA-256 of its bytes, hex. */
  readonly digest: string;
  readonly requests: readonly SweepRequest[];
}

const Body = z.record(z.string(), z.unknown());
const BatchLine = z.object({
  custom_id: z.string().min(1),
  method: z.literal('POST').optional(),
  url: z.string(),
  body: Body,
});

const SHOWN_MAX = 10;

/** @throws Failure with the numbers of the lines that are wrong, and what is */
export async function readRequests(file: string): Promise<RequestsFile> {
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    const why = error.code === 'ENOENT' ? 'there is no such file' : error.message;
    throw wrong(`cannot read the requests "${file}": ${why}`);
  });
  const requests: SweepRequest[] = [];
  const problems: string[] = [];
  const lineOf = new Map<string, number>();
  for (const [index, text] of bytes.toString('utf8').split('\n').entries()) {
    if (text.trim() === '') continue;
    const line = index + 1;
    const read = readLine(text, line);
    const earlier = typeof read === 'string' ? undefined : lineOf.get(read.customId);
    if (typeof read === 'string') problems.push(`line ${line}: ${read}`);
    else if (earlier !== undefined)
      problems.push(`line ${line}: custom_id "${read.customId}" is that of line ${earlier} too; each needs its own`);
    else {
      lineOf.set(read.customId, line);
      requests.push(read);
    }
  }
  if (problems.length > 0) {
    const more = problems.length > SHOWN_MAX ? [`and ${problems.length - SHOWN_MAX} more lines`] : [];
    throw wrong([`nothing was run, since ${file} has errors:`, ...problems.slice(0, SHOWN_MAX), ...more].join('\n  '));
  }
  if (requests.length === 0) throw wrong(`${file} has no requests: write one JSON body a line`);
  return { file, digest: createHash('sha256').update(bytes).digest('hex'), requests };
}

/** @returns the request, or what is wrong with it */
function readLine(text: string, line: number): SweepRequest | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return `not JSON (${error instanceof Error ? error.message : error})`;
  }
  const object = Body.safeParse(value);
  if (!object.success) return 'not a JSON object';
  if (!('body' in object.data)) return plain(object.data, `line-${line}`);
  const batch = BatchLine.safeParse(value);
  if (!batch.success) {
    const [issue] = batch.error.issues;
    return `as a batch line, "${issue?.path.join('.')}" is wrong: ${issue?.message}`;
  }
  const { custom_id: customId, url, body } = batch.data;
  if (!ROUTES.some(({ path }) => path === url)) return `"url" is ${url}, which the gateway does not forward`;
  return checked({ customId, path: url, body });
}

function plain(body: Record<string, unknown>, customId: string): SweepRequest | string {
  if ('messages' in body) return checked({ customId, path: '/v1/chat/completions', body });
  if ('prompt' in body) return checked({ customId, path: '/v1/completions', body });
  return 'has neither "messages" nor "prompt"; for another route write {"custom_id": ..., "url": "/v1/...", "body": {...}}';
}

function checked({ body: { model: _, ...body }, ...request }: SweepRequest): SweepRequest | string {
  if (body.stream === true) return '"stream" is true; results are whole answers: leave it out';
  return { ...request, body };
}
