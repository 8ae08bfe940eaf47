// A tar archive that was fetched: what is in it, and an adapter's files out of it. Read twice, from the disk: nothing is written by the
// archive's own names, and what it unpacks to is bounded.
import { createReadStream } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { createTarDecoder, type ParsedTarEntry } from 'modern-tar';
import { StepgateError } from '../errors.ts';
import { notFetched, tooLarge } from './download.ts';
import { choose, invalid, nameOf } from './listing.ts';
import { ENTRIES_MAX, tooMany } from './reader.ts';

export interface Unpack {
  /** The source, for people. */
  readonly uri: string;
  /** Unpacked. */
  readonly bytesMax: number;
  readonly signal: AbortSignal;
}

/** Puts the files of the archive's one adapter into `dir`. @throws StepgateError checkpoint_invalid, storage_full */
export async function unpack(archive: string, dir: string, options: Unpack): Promise<void> {
  const { uri } = options;
  const entries: { path: string; size: number }[] = [];
  await eachFile(archive, options, async ({ header, body }) => {
    if (entries.length >= ENTRIES_MAX) throw invalid(tooMany(uri));
    entries.push({ path: plain(header.name), size: header.size });
    await body.cancel();
  });
  const chosen = new Set(choose(entries, '', uri).map(({ path }) => path));
  await eachFile(archive, options, async ({ header, body }) => {
    const path = plain(header.name);
    if (chosen.delete(path)) await write(body, join(dir, nameOf(path)));
    else await body.cancel();
  });
}

/** `./a/b` and `/a/b` are `a/b`. */
const plain = (name: string): string => name.replace(/^(\.?\/)+/, '');

async function write(body: ReadableStream<Uint8Array>, to: string): Promise<void> {
  await rm(to, { force: true });
  const file = await open(to, 'wx');
  try {
    for await (const piece of body) await file.appendFile(piece);
  } finally {
    await file.close();
  }
}

async function eachFile(
  archive: string,
  { uri, bytesMax, signal }: Unpack,
  visit: (entry: ParsedTarEntry) => Promise<void>,
): Promise<void> {
  let bytes = 0;
  const counted = new Transform({
    transform(piece: Buffer, _, done) {
      bytes += piece.length;
      if (bytes > bytesMax) done(tooLarge(uri));
      else done(null, piece);
    },
  });
  const packed = createReadStream(archive, { highWaterMark: 256 * 1024 });
  const read = async () => {
    const entries = Readable.toWeb(counted).pipeThrough(
      createTarDecoder({ strict: true }),
    ) as ReadableStream<ParsedTarEntry>;
    for await (const entry of entries) {
      if (entry.header.type === 'file') await visit(entry);
      else await entry.body.cancel();
    }
  };
  const streams = /\.tar$/i.test(archive) ? [packed, counted] : [packed, createGunzip(), counted];
  const stop = new AbortController();
  const done = await Promise.allSettled([
    read().finally(() => stop.abort()),
    pipeline(streams, { signal: AbortSignal.any([signal, stop.signal]) }),
  ]);
  signal.throwIfAborted();
  const errors = done.flatMap((one) => (one.status === 'rejected' ? [notFetched(one.reason, uri)] : []));
  const [first] = errors;
  if (done[0].status === 'fulfilled') return;
  throw (
    errors.find((error) => error instanceof StepgateError) ??
    invalid(`${uri}: ${basename(archive)} is no whole tar archive (${first instanceof Error ? first.message : first}).`)
  );
}
