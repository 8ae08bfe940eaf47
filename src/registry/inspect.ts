// What lies in one checkpoint's directory: whether its adapter is whole, and the signature by which a change is noticed.
// Reads the config and the safetensors header, never the tensors. It judges wholeness only; preflight.ts judges servability.
import type { BigIntStats } from 'node:fs';
import { constants, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Contents } from './preflight.ts';
import { readSafetensors } from './safetensors.ts';

export const CONFIG_FILE = 'adapter_config.json';
/** The one file of weights that engines read beside the config. */
export const WEIGHTS_FILE = 'adapter_model.safetensors';
/** A full model has this in place of an adapter's. */
const MODEL_FILE = 'config.json';
/** The only files that are ever taken into the store. */
export const ADAPTER_FILES = [CONFIG_FILE, WEIGHTS_FILE] as const;

const JSON_BYTES_MAX = 64 * 1024 * 1024;
/** Parsing holds up every request: a megabyte of a log is some thousand rows and ten milliseconds. */
const TAIL_BYTES = 1024 * 1024;

export type Inspection =
  | { readonly kind: 'whole'; readonly dir: string; readonly signature: Signature; readonly contents: Contents }
  /** `missing` is a sentence: what is missing or half-written. */
  | { readonly kind: 'incomplete'; readonly missing: string };

/** Size, mtime (ns) and inode of the adapter's files: another value means that they were written again. */
export type Signature = string;

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
  const signature = stats.map((found) => (found ? `${found.size}:${found.mtimeNs}:${found.ino}` : '-')).join(' ');
  return { signature, newestNs };
}

/** Rejects only with a file system's error other than "not there". */
export async function inspect(dir: string): Promise<Inspection> {
  const found = await statOrNothing(dir);
  if (!found) return incomplete(`There is no directory ${dir} on the gateway's machine.`);
  if (!found.isDirectory()) return incomplete(`${dir} is a file. Give the directory that holds ${CONFIG_FILE}.`);
  const { signature } = await stampsOf(dir);
  const config = await readJson(join(dir, CONFIG_FILE));
  if (config === undefined) return withoutConfig(dir, signature);
  if (config === BAD_JSON) return incomplete(`${join(dir, CONFIG_FILE)} is not JSON, or only half-written.`);
  const weights = await orNothing(readSafetensors(join(dir, WEIGHTS_FILE)));
  if (weights?.kind === 'broken') return incomplete(`${join(dir, WEIGHTS_FILE)} ${weights.about}.`);
  const pickle = weights === undefined ? await pickleIn(dir) : undefined;
  if (weights === undefined && pickle === undefined) return incomplete(`${dir} has no ${WEIGHTS_FILE} (yet).`);
  return {
    kind: 'whole',
    dir,
    signature,
    contents: { config, tensors: weights?.tensors, pickle, architecture: undefined },
  };
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
export async function readJson(path: string, parse: (text: string) => unknown = JSON.parse): Promise<unknown> {
  const file = await orNothing(open(path, constants.O_RDONLY | constants.O_NONBLOCK));
  if (!file) return undefined;
  try {
    const found = await file.stat();
    if (!found.isFile() || found.size > JSON_BYTES_MAX) return BAD_JSON;
    return parse(await file.readFile('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return BAD_JSON;
    throw error;
  } finally {
    await file.close();
  }
}

/** The end of a text file, at most `bytesMax` of it; undefined: there is no such file, or it is not ours to read. Never rejects. */
export async function readTail(path: string, bytesMax = TAIL_BYTES): Promise<string | undefined> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => undefined);
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

const incomplete = (missing: string): Inspection => ({ kind: 'incomplete', missing });
