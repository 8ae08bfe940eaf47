// S3: ListObjectsV2 by pages of one key, and GetObject. Every request's Signature Version 4 is computed here anew, from AWS's own description
// and with nothing of the gateway's, and must be the same.
import { createHmac } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type Host, send, startHost, sum } from './host.ts';

export const ACCESS = { id: 'AKIDEXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY', region: 'eu-central-1' };

export interface S3 extends Host {
  /** Key -> content, of the bucket `ckpts`. */
  readonly objects: Record<string, Buffer>;
  /** Key -> more headers. */
  readonly headers: Record<string, Record<string, string>>;
  /** What is sent in place of an object of this key, under its ETag. */
  readonly damaged: Record<string, Buffer>;
  /** Nobody needs to sign. */
  isPublic: boolean;
  /** Lists keys as they are, whatever was asked for: not every server encodes them. */
  isPlain: boolean;
}

export async function startS3(): Promise<S3> {
  const objects: S3['objects'] = {};
  const server = await startHost(({ url, request, response, host }) => {
    const refuse = (status: number, code: string) =>
      response
        .writeHead(status, { 'content-type': 'application/xml' })
        .end(`<?xml version="1.0"?><Error><Code>${code}</Code></Error>`);
    if (!s3.isPublic && !isSigned(request, url)) return void refuse(403, 'SignatureDoesNotMatch');
    const [, bucket, key = ''] = /^\/([^/]+)\/?(.*)$/.exec(url.pathname) ?? [];
    if (bucket !== 'ckpts') return void refuse(404, 'NoSuchBucket');
    if (key === '') return void response.writeHead(200, { 'content-type': 'application/xml' }).end(list(url, s3));
    const bytes = objects[decodeURIComponent(key)];
    if (bytes === undefined) return void refuse(404, 'NoSuchKey');
    send(host, request, response, {
      bytes: s3.damaged[decodeURIComponent(key)] ?? bytes,
      etag: etagOf(bytes),
      headers: s3.headers[decodeURIComponent(key)] ?? {},
    });
  });
  const s3: S3 = Object.assign(server, { objects, damaged: {}, headers: {}, isPublic: false, isPlain: false });
  return s3;
}

const etagOf = (bytes: Buffer): string => `"${sum('md5', bytes)}"`;

function list(url: URL, { objects, isPlain }: S3): string {
  const query = url.searchParams;
  if (query.get('list-type') !== '2' || query.get('encoding-type') !== 'url')
    return '<Error><Code>InvalidRequest</Code></Error>';
  const keys = Object.keys(objects)
    .filter((key) => key.startsWith(query.get('prefix') ?? ''))
    .sort();
  const at = Number(query.get('continuation-token') ?? 0);
  const entries = keys.slice(at, at + 1).map((key) => {
    const bytes = objects[key] ?? Buffer.alloc(0);
    const name = isPlain
      ? key.replaceAll('&', '&amp;').replaceAll("'", '&apos;')
      : encodeURIComponent(key).replaceAll('%2F', '/').replaceAll('%20', '+');
    return `<Contents><Key>${name}</Key><LastModified>2026-10-01T10:00:00.000Z</LastModified><ETag>${etagOf(bytes).replaceAll('"', '&quot;')}</ETag><Size>${bytes.length}</Size><StorageClass>STANDARD</StorageClass></Contents>`;
  });
  const more = at + 1 < keys.length;
  return `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>ckpts</Name>${isPlain ? '' : '<EncodingType>url</EncodingType>'}<IsTruncated>${more}</IsTruncated>${entries.join('')}${more ? `<NextContinuationToken>${at + 1}</NextContinuationToken>` : ''}</ListBucketResult>`;
}

const hmac = (key: Buffer | string, text: string): Buffer => createHmac('sha256', key).update(text).digest();
const rfc3986 = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);

/** "Create a signed AWS API request", step by step; behind a proxy that asks for what it likes. */
function isSigned({ method, headers: sent }: IncomingMessage, url: URL): boolean {
  const headers: IncomingMessage['headers'] = { ...sent, 'accept-encoding': 'gzip' };
  const [, id, date = '', region = '', names = '', signature] =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      headers.authorization ?? '',
    ) ?? [];
  if (id !== ACCESS.id || region !== ACCESS.region || !names.split(';').includes('host')) return false;
  const path = url.pathname
    .split('/')
    .map((part) => rfc3986(decodeURIComponent(part)))
    .join('/');
  const query = [...url.searchParams]
    .map(([key, value]) => `${rfc3986(key)}=${rfc3986(value)}`)
    .sort()
    .join('&');
  const signed = names.split(';').map((name) => `${name}:${String(headers[name]).trim()}\n`);
  const canonical = [method, path, query, signed.join(''), names, headers['x-amz-content-sha256']].join('\n');
  const text = [
    'AWS4-HMAC-SHA256',
    headers['x-amz-date'],
    `${date}/${region}/s3/aws4_request`,
    sum('sha256', canonical),
  ].join('\n');
  const key = ['s3', 'aws4_request'].reduce(
    (made, part) => hmac(made, part),
    hmac(hmac(`AWS4${ACCESS.secret}`, date), region),
  );
  return hmac(key, text).toString('hex') === signature;
}
