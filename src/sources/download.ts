// One file of a source, brought to the disk: gone on with where it broke off, tried again, and held against its size and checksum.
// What is left behind when it throws is the beginning of the right content, or nothing.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { diskError } from '../disk-error.ts';
import type { StepgateError } from '../errors.ts';
import { BrokenOff, failed, sayNetwork, type Tries, withTries } from './failures.ts';
import { type Checksum, invalid, lengthOf, type RemoteFile } from './listing.ts';

export interface DownloadParts {
  /** The source, for people. */
  readonly uri: string;
  readonly tries: Tries;
  /** Of this file. */
  readonly bytesMax: number;
  /** Told how many bytes of the file are on the disk. */
  readonly onBytes: (bytes: number) => void;
}

/** Resolves when `to` holds the whole file. @throws BrokenOff; StepgateError source_failed, checkpoint_invalid, and as `refuse` says; the disk's errors */
export async function download(file: RemoteFile, to: string, parts: DownloadParts): Promise<void> {
  let most = 0;
  let brought = false;
  const onBytes = (bytes: number) => {
    brought ||= bytes > most;
    most = Math.max(most, bytes);
    parts.onBytes(bytes);
  };
  const attempt = async () => {
    const etag = file.etag ?? (file.checksum === undefined ? await learned(to) : undefined);
    // Whether the rest of it can be told to be the rest of the same.
    if (file.size === undefined || (etag ?? file.checksum) === undefined) await rm(to, { force: true });
    const have = await sizeOf(to);
    onBytes(have);
    brought = false;
    const isWhole = have > 0 && have === file.size;
    const told = isWhole ? undefined : await transfer(file, to, { ...parts, onBytes, have, etag });
    const checksum = file.checksum ?? told;
    if (checksum === undefined || (await digest(to, checksum.algorithm)) === checksum.hex) return;
    await rm(to, { force: true });
    const about = `${parts.uri}: the ${checksum.algorithm} of ${file.path} is not ${checksum.hex}, as its source says`;
    // What was there before may be of another day: once more from the beginning.
    throw have === 0 ? failed(`${about}. It is damaged there, or on its way.`) : new BrokenOff(`${about}.`);
  };
  await withTries(attempt, parts.tries, () => brought);
}

/** The ETag that the beginning of the file came with, where nothing was told of it before. */
const learned = async (path: string): Promise<string | undefined> =>
  strong(await readFile(noteOf(path), 'utf8').catch(() => null));
const strong = (etag: string | null): string | undefined => (etag?.startsWith('"') ? etag : undefined);
const noteOf = (path: string): string => `${path}.etag`;

interface Transfer extends DownloadParts {
  /** Bytes that are on the disk already. */
  readonly have: number;
  /** Theirs. */
  readonly etag: string | undefined;
}

/** Returns the checksum that came with the content, if any. */
async function transfer(file: RemoteFile, to: string, parts: Transfer): Promise<Checksum | undefined> {
  const { have, uri } = parts;
  const response = await file.open(
    have === 0 ? {} : { range: `bytes=${have}-`, ...(parts.etag && { 'if-range': parts.etag }) },
  );
  const at = startOf(response, have);
  if (at === undefined) {
    await response.body?.cancel();
    if (response.status !== 416 && response.status !== 206) throw file.refuse(response.status);
    await rm(to, { force: true });
    throw new BrokenOff(`${uri}: ${file.path} cannot be gone on with.`);
  }
  const etag = response.headers.get('etag');
  if (file.etag !== undefined && etag !== null && etag !== file.etag) {
    await response.body?.cancel();
    throw changed(file, uri);
  }
  const handle = await begin(to, {
    at,
    etag: file.checksum === undefined && file.etag === undefined ? strong(etag) : undefined,
  });
  try {
    await pour(response, handle, { file, at, parts });
  } finally {
    await handle.close();
  }
  return file.checksumIn?.(response.headers);
}

/** Opens the file to write on at `at`, which is its beginning or its end. */
async function begin(to: string, { at, etag }: { at: number; etag: string | undefined }): Promise<FileHandle> {
  if (at === 0) {
    // Emptied before it is noted what it is to be: killed in between, no note stands beside the beginning of other content.
    await writeFile(to, '');
    await (etag === undefined ? rm(noteOf(to), { force: true }) : writeFile(noteOf(to), etag));
  }
  return open(to, 'a');
}

/** Where in the file the answer begins; undefined: it is no part of it. */
function startOf(response: Response, have: number): number | undefined {
  if (response.status === 200) return 0;
  const [, start] = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '') ?? [];
  return response.status === 206 && Number(start) === have ? have : undefined;
}

async function pour(
  response: Response,
  handle: FileHandle,
  { file, at, parts }: { file: RemoteFile; at: number; parts: Transfer },
): Promise<void> {
  const { uri, bytesMax, onBytes, tries } = parts;
  let bytes = at;
  const size = file.size ?? (at > 0 ? undefined : lengthOf(response));
  const pieces = (response.body ?? new ReadableStream<Uint8Array>())[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { done, value } = await pieces.next().catch((error: unknown) => {
        tries.signal.throwIfAborted();
        throw new BrokenOff(`${uri}: ${file.path} broke off after ${bytes} bytes: ${sayNetwork(error)}.`, error);
      });
      if (done) break;
      bytes += value.length;
      if (size !== undefined && bytes > size)
        throw failed(`${uri}: ${file.path} is longer than the ${size} bytes that its source says.`);
      if (bytes > bytesMax) throw tooLarge(uri);
      // All of it: a single write may end early on a disk that is almost full.
      await handle.appendFile(value);
      onBytes(bytes);
    }
  } finally {
    await pieces.return?.();
  }
  if (size !== undefined && bytes < size)
    throw new BrokenOff(`${uri}: ${file.path} ended after ${bytes} of ${size} bytes.`);
}

export const tooLarge = (uri: string): StepgateError =>
  invalid(
    `${uri} is larger than \`sources.bytesMax\` allows. Raise it in the config, or name the folder of one adapter.`,
  );

const changed = ({ path }: RemoteFile, uri: string): StepgateError =>
  failed(`${uri}: ${path} was written again while it was fetched. Register it again when it is finished.`);

/** What the disk refuses is the gateway's own matter. */
export const notFetched = (error: unknown, uri: string): unknown => diskError(error, `${uri} was not fetched`);

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

/** Hex. */
async function digest(path: string, algorithm: Checksum['algorithm']): Promise<string> {
  const hash = createHash(algorithm === 'git' ? 'sha1' : algorithm);
  if (algorithm === 'git') hash.update(`blob ${await sizeOf(path)}\0`);
  for await (const piece of createReadStream(path, { highWaterMark: 256 * 1024 })) hash.update(piece as Buffer);
  return hash.digest('hex');
}
