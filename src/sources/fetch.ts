// One fetch, from the source's words to its files in a directory: listed by its reader, chosen, bounded, downloaded, unpacked.
// It knows nobody who waits for it (sources.ts does), and no registry.
import { join } from 'node:path';
import type { SourcesConfig } from '../config.ts';
import { StepgateError } from '../errors.ts';
import { isAllowed } from './allow.ts';
import { Client, type Connections } from './client.ts';
import { download, notFetched, tooLarge } from './download.ts';
import type { Tries } from './failures.ts';
import { choose, type Listing, nameOf, pinned, type RemoteFile } from './listing.ts';
import type { ReaderContext } from './reader.ts';
import { rulesOf, type SourceKeys } from './rules.ts';
import type { Held, Staging } from './staging.ts';
import { parseSource, print, type Source, subjectOf } from './uri.ts';

export interface FetchParts {
  readonly settings: SourcesConfig;
  readonly keys: SourceKeys;
  readonly staging: Staging;
  readonly connections: Connections;
  readonly tries: Tries;
  /** Sets room in the store aside until the returned function is called. @throws StepgateError storage_full */
  readonly promise: (bytes: number, uri: string) => () => void;
  readonly onProgress: (progress: Progress) => void;
  /** Given the directory of its files before there are any, to let go of in the end. */
  readonly onHeld: (held: Held) => void;
}

export interface Progress {
  readonly phase: 'listing' | 'fetching' | 'registering';
  readonly bytes: number;
  /** Undefined: the source does not say. */
  readonly bytesTotal: number | undefined;
}

export interface Fetched {
  /** Holds adapter_config.json, adapter_model.safetensors and what there was of small files beside them. */
  readonly dir: string;
  /** With its revision resolved. */
  readonly uri: string;
}

/** @throws BrokenOff; StepgateError source_not_allowed, source_not_found, source_failed, checkpoint_invalid, storage_full, storage_failed */
export async function fetchSource(source: Source, parts: FetchParts): Promise<Fetched> {
  const { settings, staging, promise, tries } = parts;
  const { bytesMax } = settings;
  const listing = await list(source, parts);
  const { isArchive = false } = listing;
  const files = isArchive ? listing.files : choose(listing.files, folderOf(source), listing.uri);
  const uri = pinned(listing.uri, files, isArchive);
  const total = files.every(({ size }) => size !== undefined)
    ? files.reduce((sum, { size = 0 }) => sum + size, 0)
    : undefined;
  if (total !== undefined && total > bytesMax) throw tooLarge(uri);
  const unpromise = promise(total ?? 0, uri);
  try {
    const held = await staging.take(uri, files, tries.signal);
    parts.onHeld(held);
    const { dir } = held;
    await downloadAll(files, dir, { parts, uri, total });
    const [archive] = files;
    if (!isArchive || archive === undefined) return { dir, uri };
    const { unpack } = await import('./archive.ts');
    await unpack(join(dir, nameOf(archive.path)), dir, { uri, bytesMax, signal: tries.signal });
    return { dir, uri };
  } catch (error) {
    throw notFetched(error, uri);
  } finally {
    unpromise();
  }
}

async function downloadAll(
  files: readonly RemoteFile[],
  dir: string,
  { parts, uri, total }: { parts: FetchParts; uri: string; total: number | undefined },
): Promise<void> {
  const { settings, tries, onProgress } = parts;
  let before = 0;
  for (const file of files) {
    let size = 0;
    const onBytes = (bytes: number) => {
      size = bytes;
      onProgress({ phase: 'fetching', bytes: before + bytes, bytesTotal: total });
    };
    await download(file, join(dir, nameOf(file.path)), { uri, tries, bytesMax: settings.bytesMax - before, onBytes });
    before += size;
  }
}

const folderOf = (source: Source): string => ('folder' in source ? source.folder : '');

async function list(source: Source, parts: FetchParts): Promise<Listing> {
  const { settings, keys, tries, connections } = parts;
  checkAllowed(source, settings);
  const rules = rulesOf(source.kind, settings, keys);
  const client = new Client(rules, { tries, connections, about: print(source) });
  const elsewhere = async (uri: string): Promise<Listing> => {
    const led = parseSource(uri);
    const listing = await list(led, parts);
    return { ...listing, files: choose(listing.files, folderOf(led), uri) };
  };
  return read(source, { client, settings, elsewhere });
}

/** Each reader with its library is loaded when it is first needed. */
async function read(source: Source, context: ReaderContext): Promise<Listing> {
  switch (source.kind) {
    case 'hf':
      return (await import('./hf.ts')).listHf(source, context);
    case 's3':
      return (await import('./s3.ts')).listS3(source, context);
    case 'mlflow':
      return (await import('./mlflow.ts')).listMlflow(source, context);
    case 'wandb':
      return (await import('./wandb.ts')).listWandb(source, context);
    case 'https':
      return (await import('./http.ts')).listHttp(source, context);
  }
}

/** @throws StepgateError source_not_allowed, with the line to write */
function checkAllowed(source: Source, { allow }: SourcesConfig): void {
  const subject = subjectOf(source);
  if (isAllowed(allow, subject)) return;
  const now = allow.length === 0 ? 'No source is allowed yet.' : `Allowed are ${allow.join(', ')}.`;
  throw new StepgateError(
    'source_not_allowed',
    `${subject} is not allowed as a source. ${now} Add it to the config, and reload: sources: { allow: [${JSON.stringify(subject)}] }`,
    { param: 'source' },
  );
}
