// What lies in one checkpoint's directory: whether its adapter is whole, and the signature by which a change is noticed.
// Reads the config and the safetensors header, never the tensors. It judges wholeness only; preflight.ts judges servability.
import type { BigIntStats } from 'node:fs';
import { constants, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ADAPTER_FILES,
  CONFIG_FILE,
  type Opened,
  type Originals,
  openOriginals,
  type Signature,
  stampOf,
  WEIGHTS_FILE,
} from './originals.ts';
import type { Contents } from './preflight.ts';
import { type Bytes, judgeSafetensors } from './safetensors.ts';

export { ADAPTER_FILES, CONFIG_FILE, type Signature, WEIGHTS_FILE } from './originals.ts';

/** A full model has this in place of an adapter's. */
const MODEL_FILE = 'config.json';
/** O_NONBLOCK: a FIFO of this name must not hang the gateway. */
const READ = constants.O_RDONLY | constants.O_NONBLOCK;
const JSON_BYTES_MAX = 16 * 1024 * 1024;
/** Parsing holds up every request: a megabyte of a log is some thousand rows and ten milliseconds. */
const TAIL_BYTES = 1024 * 1024;

/** An adapter's files, which are open. */
export type Files = Pick<Originals, 'dir' | 'signature'> & { readonly config: Bytes; readonly weights: Bytes };

export type Inspection =
  | { readonly kind: 'whole'; readonly dir: string; readonly signature: Signature; readonly contents: Contents }
  /** `missing` is a sentence: what is missing or half-written. */
  | { readonly kind: 'incomplete'; readonly missing: string };

export interface Stamps {
  readonly signature: Signature;
  /** The newest mtime among the adapter's files (else of a full model's config), ns; undefined while there is none of them. */
  readonly newestNs: bigint | undefined;
}

/** Cheap: two stats; three where there is no adapter, since there may be a full model. Never rejects for files that are not there. */
export async function stampsOf(dir: string): Promise<Stamps> {
  const stats: (BigIntStats | undefined)[] = await Promise.all(
    ADAPTER_FILES.map((name) => statOrNothing(join(dir, name))),
  );
  if (!stats.some(Boolean)) stats.push(await statOrNothing(join(dir, MODEL_FILE)));
  let newestNs: bigint | undefined;
  for (const found of stats)
    if (found && (newestNs === undefined || found.mtimeNs > newestNs)) newestNs = found.mtimeNs;
  const signature = stats.map((found) => (found ? stampOf(found) : '-')).join(' ');
  return { signature, newestNs };
}

/** Rejects only with a file system's error other than "not there". */
export async function inspect(dir: string): Promise<Inspection> {
  const originals = await openOriginals(dir, openRegular);
  if (originals === undefined) return withoutAdapter(dir);
  try {
    return await inspectOpened(originals);
  } finally {
    await originals.close();
  }
}

/** As `inspect`, of files that are open already. */
export async function inspectOpened({ dir, config: file, weights, signature }: Files): Promise<Inspection> {
  const config = file.size > JSON_BYTES_MAX ? BAD_JSON : parseJson(await file.read(0, file.size), JSON.parse);
  if (config === BAD_JSON) return notJson(dir);
  const read = await judgeSafetensors(weights);
  if (read.kind === 'broken') return incomplete(`${join(dir, WEIGHTS_FILE)} ${read.about}.`);
  const contents = { config, tensors: read.tensors, pickle: undefined, architecture: undefined };
  return { kind: 'whole', dir, signature, contents };
}

/** Not both files are there: what people should be told, or that it is something else that is whole. */
async function withoutAdapter(dir: string): Promise<Inspection> {
  const found = await statOrNothing(dir);
  if (!found) return incomplete(`There is no directory ${dir} on the gateway's machine.`);
  if (!found.isDirectory()) return incomplete(`${dir} is a file. Give the directory that holds ${CONFIG_FILE}.`);
  const { signature } = await stampsOf(dir);
  const config = await readJson(join(dir, CONFIG_FILE));
  if (config === undefined) return withoutConfig(dir, signature);
  if (config === BAD_JSON) return notJson(dir);
  const weights = await statOrNothing(join(dir, WEIGHTS_FILE));
  if (weights && !weights.isFile()) return incomplete(`${join(dir, WEIGHTS_FILE)} is not a regular file.`);
  const pickle = weights === undefined ? await pickleIn(dir) : undefined;
  if (pickle === undefined) return incomplete(`${dir} has no ${WEIGHTS_FILE} (yet).`);
  return { kind: 'whole', dir, signature, contents: { config, tensors: undefined, pickle, architecture: undefined } };
}

/** Without an adapter_config.json it may still be a full model, which people should be told in those words. */
async function withoutConfig(dir: string, signature: Signature): Promise<Inspection> {
  const config = await readJson(join(dir, MODEL_FILE));
  const architectures =
    typeof config === 'object' && config !== null && 'architectures' in config ? config.architectures : undefined;
  if (!Array.isArray(architectures))
    return incomplete(`${dir} has no ${CONFIG_FILE} (yet). Give the directory of one checkpoint.`);
  const architecture = String(architectures[0] ?? 'unknown');
  return {
    kind: 'whole',
    dir,
    signature,
    contents: { config: undefined, tensors: undefined, pickle: undefined, architecture },
  };
}

export const BAD_JSON = Symbol('bad JSON');

/** undefined: no such file; BAD_JSON: not a regular file, too large, or not JSON. `parse` throws for the latter. */
export async function readJson(
  path: string,
  { parse = JSON.parse, bytesMax = JSON_BYTES_MAX }: { parse?: (text: string) => unknown; bytesMax?: number } = {},
): Promise<unknown> {
  const file = await orNothing(open(path, READ));
  if (!file) return undefined;
  try {
    const found = await file.stat();
    if (!found.isFile() || found.size > bytesMax) return BAD_JSON;
    // Not `readFile`, which asks for the size again and for an end after the end.
    const text = Buffer.alloc(found.size);
    const { bytesRead } = await file.read(text, 0, text.length, 0);
    return parseJson(text.subarray(0, bytesRead), parse);
  } finally {
    await file.close();
  }
}

function parseJson(text: Buffer, parse: (text: string) => unknown): unknown {
  try {
    return parse(text.toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return BAD_JSON;
    throw error;
  }
}

/** The end of a text file, at most `bytesMax` of it; undefined: there is no such file, or it is not ours to read. Never rejects. */
export async function readTail(path: string, bytesMax = TAIL_BYTES): Promise<string | undefined> {
  const file = await open(path, READ).catch(() => undefined);
  if (!file) return undefined;
  try {
    const found = await file.stat();
    if (!found.isFile()) return undefined;
    const buffer = Buffer.alloc(Math.min(found.size, bytesMax));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, found.size - buffer.length);
    return buffer.toString('utf8', 0, bytesRead);
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
}

/** For reading, wherever it leads; undefined: no regular file is there. Its caller closes it. */
export async function openRegular(path: string): Promise<Opened | undefined> {
  const file = await orNothing(open(path, READ));
  if (!file) return undefined;
  let opened: Opened | undefined;
  try {
    const found = await file.stat({ bigint: true });
    if (found.isFile()) opened = { file, path, size: Number(found.size), stamp: stampOf(found) };
  } finally {
    if (opened === undefined) await file.close();
  }
  return opened;
}

async function pickleIn(dir: string): Promise<string | undefined> {
  for (const name of ['adapter_model.bin', 'adapter_model.pt']) if (await statOrNothing(join(dir, name))) return name;
  return undefined;
}

export const statOrNothing = (path: string) => orNothing(stat(path, { bigint: true }));

/** What is not there is an answer; every other failure is an error. */
export async function orNothing<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}

const notJson = (dir: string) => incomplete(`${join(dir, CONFIG_FILE)} is not JSON, or only half-written.`);
const incomplete = (missing: string): Inspection => ({ kind: 'incomplete', missing });
