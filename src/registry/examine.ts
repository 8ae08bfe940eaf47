// Whether an adapter is whole, and what an engine would make of it, in one go. The header of an adapter of many experts has megabytes, and to parse and
// judge it takes half a second of a thread; so that is done in a thread of its own (examine-thread.ts), one at a time. What is small stays here.
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { type Files, inspect, inspectOpened, openRegular } from './inspect.ts';
import { type Original, type Originals, openOriginals, type Signature } from './originals.ts';
import { preflight, type Surroundings, type Verdict } from './preflight.ts';
import { findNaN, headerBytesOf } from './safetensors.ts';

/** Parsed and judged in five milliseconds. */
const HERE_BYTES_MAX = 256 * 1024;

/** `forNaN`: also search the tensors for one. */
export type Question = Omit<Surroundings, 'nan'> & { readonly forNaN: boolean };

export type Examined =
  | { readonly kind: 'whole'; readonly signature: Signature; readonly verdict: Verdict }
  /** A sentence: what is missing or half-written. */
  | { readonly kind: 'incomplete'; readonly missing: string };

/** What the thread is told; of a file that was read whole its bytes, else its descriptor, which stays open until the answer. */
export interface Told {
  readonly files: Pick<Originals, 'dir' | 'signature'>;
  readonly config: Held;
  readonly weights: Held;
  readonly question: Question;
}
export type Held = { readonly size: number } & ({ readonly whole: Uint8Array } | { readonly fd: number });

/** The thread that was asked last. */
let last: Promise<unknown> = Promise.resolve();

/** Without a search, and without a base. Rejects only with a file system's error other than "not there". */
export async function examineIn(dir: string): Promise<Examined> {
  const originals = await openOriginals(dir, openRegular);
  try {
    return await (originals ? examine(originals, { forNaN: false }) : examineOther(dir));
  } finally {
    await originals?.close();
  }
}

/** A directory that has not both of an adapter's files. Rejects as `examineIn`. */
export async function examineOther(dir: string): Promise<Examined> {
  const inspection = await inspect(dir);
  if (inspection.kind === 'incomplete') return inspection;
  return { kind: 'whole', signature: inspection.signature, verdict: preflight(inspection.contents) };
}

/** Rejects only with a file system's error. */
export async function examine(files: Originals, question: Question): Promise<Examined> {
  const bytes = files.config.size + (await headerBytesOf(files.weights));
  if (bytes <= HERE_BYTES_MAX) return examineHere(files, question);
  const examined = last.then(() => examineAside(files, question));
  last = examined.catch(() => {});
  return examined;
}

/** In this thread. */
export async function examineHere(files: Files, question: Question): Promise<Examined> {
  const inspection = await inspectOpened(files);
  if (inspection.kind === 'incomplete') return inspection;
  const { signature, contents } = inspection;
  const nan = question.forNaN && contents.tensors ? await findNaN(files.weights, contents.tensors) : undefined;
  return { kind: 'whole', signature, verdict: preflight(contents, { ...question, nan }) };
}

function examineAside({ dir, signature, config, weights }: Originals, question: Question): Promise<Examined> {
  const told: Told = { files: { dir, signature }, config: heldOf(config), weights: heldOf(weights), question };
  return new Promise((resolve, reject) => {
    const file = new URL(`./examine-thread${extname(import.meta.url)}`, import.meta.url);
    const thread = new Worker(file, { workerData: told });
    thread.once('message', resolve);
    thread.once('error', reject);
    thread.once('exit', () => reject(new Error('the thread that examines adapters ended without an answer')));
  });
}

const heldOf = ({ size, whole, opened }: Original): Held =>
  whole === undefined ? { size, fd: opened.file.fd } : { size, whole };
