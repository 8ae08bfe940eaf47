// What may be written as a checkpoint's source, read and printed. Pure: whether it is allowed is for allow.ts, what is there for the
// readers of each kind. What is printed holds no secret: a signed URL's query is left out.
import { StepgateError } from '../errors.ts';

export type Source = HfSource | S3Source | MlflowSource | WandbSource | HttpSource;
export type SourceKind = Source['kind'];

export interface HfSource {
  readonly kind: 'hf';
  /** `org/repo` */
  readonly repo: string;
  /** '' is the repo's root. */
  readonly folder: string;
  /** A branch, tag or commit. */
  readonly revision: string;
}

export interface S3Source {
  readonly kind: 's3';
  readonly bucket: string;
  /** Without a slash at its end; '' is the whole bucket. */
  readonly folder: string;
}

export interface MlflowSource {
  readonly kind: 'mlflow';
  readonly model: string;
  readonly version: { readonly number: string } | { readonly alias: string };
  readonly folder: string;
}

export interface WandbSource {
  readonly kind: 'wandb';
  readonly entity: string;
  readonly project: string;
  readonly artifact: string;
  /** `v3`, or an alias. */
  readonly version: string;
}

export interface HttpSource {
  readonly kind: 'https';
  /** Without its query and without a slash at its end. */
  readonly url: string;
  /** '' or `?...`: it may be a signature. */
  readonly query: string;
  readonly isArchive: boolean;
}

export const KNOWN =
  'hf:org/repo@revision, s3://bucket/folder, mlflow:models:/name/5 (or name@alias), wandb:entity/project/name:v3, https://host/folder (or .tar, .tar.gz)';

const ARCHIVE = /\.(tar|tar\.gz|tgz)$/i;
const PACKED = /\.(zip|7z|rar|tar\.(bz2|xz|zst)|tbz2?|txz)$/i;
const CHARACTERS_MAX = 2_000;

/** @throws StepgateError invalid_request */
export function parseSource(text: string): Source {
  if (text.length > CHARACTERS_MAX) throw wrong(`is longer than ${CHARACTERS_MAX} characters`);
  const [, scheme = '', rest = ''] = /^([A-Za-z][A-Za-z0-9+.-]*):(.*)$/s.exec(text) ?? [];
  switch (scheme.toLowerCase()) {
    case 'hf':
      return parseHf(rest);
    case 's3':
      return parseS3(rest);
    case 'mlflow':
      return parseMlflow(rest);
    case 'wandb':
      return parseWandb(rest);
    case 'https':
    case 'http':
      return parseHttp(text);
    default:
      throw wrong(`${shown(text)} is of no known kind; write ${KNOWN}`);
  }
}

/** What the patterns of `sources.allow` are held against: without revision and query. */
export function subjectOf(source: Source): string {
  switch (source.kind) {
    case 'hf':
      return `hf:${under(source.repo, source.folder)}`;
    case 's3':
      return `s3://${under(source.bucket, source.folder)}`;
    case 'mlflow':
      return `mlflow:models:/${source.model}`;
    case 'wandb':
      return `wandb:${source.entity}/${source.project}/${source.artifact}`;
    case 'https':
      return source.url;
  }
}

/** As it was asked for. */
export function print(source: Source): string {
  switch (source.kind) {
    case 'hf':
      return `${subjectOf(source)}@${source.revision}`;
    case 'mlflow': {
      const { version, folder } = source;
      if ('alias' in version) return `${subjectOf(source)}@${under(version.alias, folder)}`;
      return `${subjectOf(source)}/${under(version.number, folder)}`;
    }
    case 'wandb':
      return `${subjectOf(source)}:${source.version}`;
    default:
      return subjectOf(source);
  }
}

/** A path of a source: `folder` may be ''. */
export const under = (parent: string, folder: string): string =>
  parent === '' || folder === '' ? parent + folder : `${parent}/${folder}`;

function parseHf(rest: string): HfSource {
  const at = rest.indexOf('@');
  const [org = '', name = '', ...folder] = parts(at < 0 ? rest : rest.slice(0, at));
  const revision = at < 0 ? 'main' : rest.slice(at + 1);
  if (!isWord(org) || !isWord(name) || !/^[\w./-]+$/.test(revision) || revision.includes('..'))
    throw wrong(
      `${shown(`hf:${rest}`)} is no repo; write hf:org/repo, hf:org/repo@revision or hf:org/repo/folder@revision`,
    );
  return { kind: 'hf', repo: `${org}/${name}`, folder: folder.join('/'), revision };
}

function parseS3(rest: string): S3Source {
  if (!/^\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/|$)/.test(rest))
    throw wrong(`${shown(`s3:${rest}`)} names no bucket; write s3://bucket/folder`);
  const [bucket = '', ...folder] = parts(rest.slice(2));
  return { kind: 's3', bucket, folder: folder.join('/') };
}

function parseMlflow(rest: string): MlflowSource {
  const [, path = ''] = /^models:\/([^/].*)$/.exec(rest) ?? [];
  const [first = '', second = '', ...folder] = parts(path);
  const at = first.indexOf('@');
  if (at > 0 && at < first.length - 1)
    return {
      kind: 'mlflow',
      model: first.slice(0, at),
      version: { alias: first.slice(at + 1) },
      folder: [second, ...folder].filter((part) => part !== '').join('/'),
    };
  if (first === '' || at >= 0 || !/^\d+$/.test(second))
    throw wrong(
      `${shown(`mlflow:${rest}`)} names no version; write mlflow:models:/name/5 or mlflow:models:/name@alias`,
    );
  return { kind: 'mlflow', model: first, version: { number: second }, folder: folder.join('/') };
}

function parseWandb(rest: string): WandbSource {
  const [, entity = '', project = '', artifact = '', version = ''] =
    /^([^/:]+)\/([^/:]+)\/([^/:]+):([^/:]+)$/.exec(rest) ?? [];
  if (![entity, project, artifact, version].every(isWord))
    throw wrong(`${shown(`wandb:${rest}`)} names no version; write wandb:entity/project/name:v3 or :alias`);
  return { kind: 'wandb', entity, project, artifact, version };
}

function parseHttp(text: string): HttpSource {
  const url = URL.parse(text);
  if (url === null || url.host === '') throw wrong(`${shown(text)} is no URL; write https://host/folder`);
  if (url.username !== '' || url.password !== '')
    throw wrong('holds a password; write it into a file, and the file into `sources.hosts` of the config');
  // A server may read them as slashes, and leave the folder that is allowed.
  if (/%(2f|5c|2e|00)/i.test(url.pathname)) throw wrong('has an encoded slash or dot in its path; write it as it is');
  const path = url.pathname.replace(/\/+$/, '');
  if (PACKED.test(path))
    throw wrong(`${url.origin}${path} is packed in a way that is not read here; pack it as .tar.gz or .tar`);
  return { kind: 'https', url: url.origin + path, query: url.search, isArchive: ARCHIVE.test(path) };
}

/** Of a path with at most one slash at its end. */
function parts(path: string): string[] {
  const found = path.replace(/\/$/, '').split('/');
  if (
    found.some((part) => part === '.' || part === '..' || /[\p{Cc}\\]/u.test(part)) ||
    (path !== '' && found.includes(''))
  )
    throw wrong(`${shown(path)} has an empty part, a "..", or a letter that no path should have`);
  return found;
}

const isWord = (text: string): boolean => /^[\w.-]+$/.test(text) && !/^\.+$/.test(text);
/** It may be anything: without a signature, and without a password before the host. */
const shown = (text: string): string =>
  JSON.stringify(
    text
      .replace(/\/\/.*@/s, '//***@')
      .replace(/\?.*$/s, '')
      .slice(0, 100),
  );
const wrong = (about: string): StepgateError =>
  new StepgateError('invalid_request', `the source ${about}`, { param: 'source' });
