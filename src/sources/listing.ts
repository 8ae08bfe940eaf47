// What a reader says of a source, and which of it an adapter needs. Pure: nothing is fetched here, and nothing that could hold code is ever
// chosen.
import { StepgateError } from '../errors.ts';
import { under } from './uri.ts';

export interface Checksum {
  /** `git`: SHA-1 as git names a file's content. */
  readonly algorithm: 'sha256' | 'md5' | 'git';
  readonly hex: string;
}

export interface RemoteFile {
  /** As the source has it, with slashes. */
  readonly path: string;
  /** Undefined: not known. */
  readonly size: number | undefined;
  /** A strong ETag, with its quotes: other content has another. */
  readonly etag?: string | undefined;
  readonly checksum?: Checksum | undefined;
  /** Where it is only told with the content. */
  readonly checksumIn?: (headers: Headers) => Checksum | undefined;
  /** Asks for it, or for the rest of it; resolves with whatever status was answered. */
  readonly open: (headers: Readonly<Record<string, string>>) => Promise<Response>;
  /** What a status that is no success means. */
  readonly refuse: (status: number) => StepgateError;
}

export interface Listing {
  /** The source with its revision resolved, where it has any. */
  readonly uri: string;
  readonly files: readonly RemoteFile[];
  /** Whether the one file is a tar archive of them. */
  readonly isArchive?: boolean;
}

export const CONFIG = 'adapter_config.json';
export const WEIGHTS = 'adapter_model.safetensors';
/** Read for metrics and versions, where they are small. */
export const EXTRAS: readonly string[] = ['trainer_state.json', 'config.json', 'README.md'];
const WANTED: readonly string[] = [CONFIG, WEIGHTS, ...EXTRAS];
const EXTRA_BYTES_MAX = 16 * 1024 * 1024;
const NAMED_MAX = 5;

interface Entry {
  readonly path: string;
  readonly size: number | undefined;
}

/**
 * The files of the one adapter in `folder` ('' is the root), or, where none is right there, of the only one below it.
 * @throws StepgateError checkpoint_invalid that says what is there instead
 */
export function choose<T extends Entry>(files: readonly T[], folder: string, uri: string): T[] {
  const inside = files.filter(({ path }) => folder === '' || path.startsWith(`${folder}/`));
  const folders = inside.filter(({ path }) => nameOf(path) === CONFIG).map(({ path }) => folderOf(path));
  const chosen = folders.includes(folder) ? folder : folders.length === 1 ? folders[0] : undefined;
  if (chosen === undefined) throw folders.length === 0 ? noAdapter(inside, uri) : many(folders, uri);
  const at = (name: string) => inside.find(({ path }) => path === under(chosen, name));
  if (at(WEIGHTS) === undefined) throw noWeights(inside, under(chosen, ''), uri);
  return WANTED.flatMap((name) => {
    const file = at(name);
    return file === undefined || (EXTRAS.includes(name) && (file.size ?? Number.POSITIVE_INFINITY) > EXTRA_BYTES_MAX)
      ? []
      : [file];
  });
}

/** The source and which content of it that is: what is printed and stored. A revision says so, and an ETag where there is one. */
export function pinned(uri: string, files: readonly RemoteFile[], isArchive: boolean): string {
  const etag = files.find(({ path }) => isArchive || nameOf(path) === WEIGHTS)?.etag;
  return etag === undefined ? uri : `${uri}#${etag.replaceAll('"', '')}`;
}

/** How much an answer holds, where that is told: of what is sent packed unasked, Content-Length is another length. */
export function lengthOf({ headers }: Response): number | undefined {
  const length = headers.get('content-length');
  return length === null || headers.has('content-encoding') ? undefined : Number(length);
}

export const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
const folderOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')));

function noAdapter(files: readonly Entry[], uri: string): StepgateError {
  const names = new Set(files.map(({ path }) => nameOf(path)));
  if (names.has('config.json') && [...names].some((name) => /^(pytorch_model|model).*\.(safetensors|bin)$/.test(name)))
    return invalid(
      `${uri} is a full model, not a LoRA adapter: it has no ${CONFIG}. Serve it as a base, with an engine of its own.`,
    );
  const there = files.length === 0 ? 'nothing is there' : `there is ${some([...names])}`;
  return invalid(`${uri} has no ${CONFIG} (${there}). Name the folder that holds it.`);
}

const many = (folders: readonly string[], uri: string) =>
  invalid(`${uri} holds ${folders.length} adapters (in ${some(folders)}). Name the folder of one.`);

function noWeights(files: readonly Entry[], folder: string, uri: string): StepgateError {
  const pickle = ['adapter_model.bin', 'adapter_model.pt'].find((name) =>
    files.some(({ path }) => path === under(folder, name)),
  );
  if (pickle === undefined) return invalid(`${uri} has a ${CONFIG}, but no ${WEIGHTS} beside it.`);
  return invalid(
    `${uri} has its weights in ${pickle}, which may hold code and is not fetched. Save them as ${WEIGHTS} (PEFT: save_pretrained with safe_serialization=True).`,
  );
}

const some = (names: readonly string[]): string =>
  names.slice(0, NAMED_MAX).join(', ') + (names.length > NAMED_MAX ? ` and ${names.length - NAMED_MAX} more` : '');

export const invalid = (about: string): StepgateError =>
  new StepgateError('checkpoint_invalid', about, { param: 'source' });
