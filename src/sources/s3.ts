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
  const files: RemoteFile[] = [];
  for (let token: string | undefined = ''; token !== undefined; ) {
    const query = new URLSearchParams({
      'list-type': '2',
      'encoding-type': 'url',
      prefix: folder === '' ? '' : `${folder}/`,
    });
    if (token !== '') query.set('continuation-token', token);
    const page = await client.text(`${home}?${query.toString().replaceAll('+', '%20')}`);
    if (!page.includes('<ListBucketResult'))
      throw failed(`${subject}: ${new URL(home).host} answers, but not as S3 does.`);
    for (const [, entry = ''] of page.matchAll(/<Contents>(.*?)<\/Contents>/gs)) {
      if (files.length >= ENTRIES_MAX) throw invalid(tooMany(subject));
      files.push(fileOf(entry));
    }
    token = tag(page, 'IsTruncated') === 'true' ? tag(page, 'NextContinuationToken') : undefined;
  }
  return { uri: subject, files };

  function fileOf(entry: string): RemoteFile {
    const path = decodeURIComponent((tag(entry, 'Key') ?? '').replaceAll('+', '%20'));
    const etag = tag(entry, 'ETag');
    const size = Number(tag(entry, 'Size'));
    return {
      path,
      size,
      etag,
      checksumIn,
      ...client.at(`${home}/${encoded(path)}`, { 'x-amz-checksum-mode': 'ENABLED' }),
    };
  }
};

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

/** Of XML that S3 writes: no attributes, no nesting of the same name, and `encoding-type=url` leaves four entities. */
function tag(xml: string, name: string): string | undefined {
  const [, text] = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml) ?? [];
  return text?.replace(/&(quot|amp|lt|gt|#34|#39);/g, (_, entity: string) => ENTITIES[entity] ?? '');
}

const ENTITIES: Readonly<Record<string, string>> = { quot: '"', amp: '&', lt: '<', gt: '>', '#34': '"', '#39': "'" };
