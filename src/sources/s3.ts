// s3://bucket/folder: AWS S3, and what speaks its API at an address of its own (MinIO, Ceph, R2). Path-style addresses, which all of them
// understand. What is listed is pinned by its ETag: written again meanwhile, it is refused and not mixed.
import { failed } from './failures.ts';
import { type Checksum, invalid, type RemoteFile } from './listing.ts';
import { ENTRIES_MAX, encoded, type Reader, tooMany } from './reader.ts';
import { homeOf } from './rules.ts';
import { subjectOf } from './uri.ts';

export const listS3: Reader<'s3'> = async (source, { client, settings }) => {
  const { bucket, folder } = source;
  const home = `${homeOf('s3', settings)}/${bucket}`;
  const subject = subjectOf(source);
  const strange = () => failed(`${subject}: ${new URL(home).host} answers, but not as S3 does.`);
  const files: RemoteFile[] = [];
  for (let token: string | undefined = ''; token !== undefined; ) {
    const query = new URLSearchParams({
      'list-type': '2',
      'encoding-type': 'url',
      prefix: folder === '' ? '' : `${folder}/`,
    });
    if (token !== '') query.set('continuation-token', token);
    const page = await client.text(`${home}?${query.toString().replaceAll('+', '%20')}`);
    if (!page.includes('<ListBucketResult')) throw strange();
    const isEncoded = tag(page, 'EncodingType') === 'url';
    for (const entry of page.split('<Contents>', ENTRIES_MAX + 2).slice(1)) {
      if (files.length >= ENTRIES_MAX) throw invalid(tooMany(subject));
      const key = tag(entry, 'Key') ?? '';
      const path = isEncoded ? decoded(key) : key;
      if (path === undefined) throw strange();
      if (isAskable(path)) files.push(fileOf(path, entry));
    }
    token = tag(page, 'IsTruncated') === 'true' ? tag(page, 'NextContinuationToken') : undefined;
  }
  return { uri: subject, files };

  function fileOf(path: string, entry: string): RemoteFile {
    return {
      path,
      size: Number(tag(entry, 'Size')),
      etag: tag(entry, 'ETag'),
      checksumIn,
      ...client.at(`${home}/${encoded(path)}`, { 'x-amz-checksum-mode': 'ENABLED' }),
    };
  }
};

/** A key as `encoding-type=url` writes it; undefined: it does not. */
function decoded(key: string): string | undefined {
  try {
    return decodeURIComponent(key.replaceAll('+', '%20'));
  } catch {
    return undefined;
  }
}

/** In a URL a part of dots leads to another key, which may be none that is allowed. */
const isAskable = (key: string): boolean => !key.split('/').some((part) => part === '.' || part === '..');

/** SHA-256 where the object was stored with one; else MD5, which an ETag is unless it is of several parts, or of an object under a key of its own. */
function checksumIn(headers: Headers): Checksum | undefined {
  const sha256 = headers.get('x-amz-checksum-sha256');
  if (sha256 !== null && !sha256.includes('-'))
    return { algorithm: 'sha256', hex: Buffer.from(sha256, 'base64').toString('hex') };
  const encryption = headers.get('x-amz-server-side-encryption') ?? 'AES256';
  const isOwnKey = headers.has('x-amz-server-side-encryption-customer-algorithm');
  const [, md5] = /^"([0-9a-f]{32})"$/.exec(headers.get('etag') ?? '') ?? [];
  return md5 === undefined || encryption !== 'AES256' || isOwnKey ? undefined : { algorithm: 'md5', hex: md5 };
}

/** Of XML that S3 writes: no attributes, no nesting of the same name. */
function tag(xml: string, name: string): string | undefined {
  const [, text] = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml) ?? [];
  return text?.replace(/&(quot|apos|amp|lt|gt|#34|#39);/g, (_, entity: string) => ENTITIES[entity] ?? '');
}

const ENTITIES: Readonly<Record<string, string>> = {
  quot: '"',
  apos: "'",
  amp: '&',
  lt: '<',
  gt: '>',
  '#34': '"',
  '#39': "'",
};
