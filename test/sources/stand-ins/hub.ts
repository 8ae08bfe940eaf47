// The Hugging Face Hub, as far as its clients ask it for a model's files: revisions, trees by pages, and files behind a redirect to another
// host with signed addresses. Shapes as the Hub writes them (October 2026).
import { type Host, send, sendJson, startHost, sum } from './host.ts';

export const SHA = 'c0ffee'.padEnd(40, '0');

export interface Hub extends Host {
  readonly cdn: Host;
  /** `org/repo` -> path -> content. */
  readonly repos: Record<string, Record<string, Buffer>>;
  /** What it asks for, where it asks for any. */
  token: string | undefined;
  /** Where large files are, if not at the CDN. */
  redirect: string | undefined;
  /** What the CDN serves in place of a file. */
  damaged: Buffer | undefined;
}

/** Larger files are kept by the CDN. */
const LFS_BYTES = 4_000;

export async function startHub(): Promise<Hub> {
  const repos: Hub['repos'] = {};
  const cdn = await startHost(({ url, request, response, host }) => {
    const wanted = url.pathname.slice(1);
    const bytes = Object.values(repos)
      .flatMap((files) => Object.values(files))
      .find((content) => sum('sha256', content) === wanted);
    if (bytes === undefined || url.searchParams.get('Signature') !== 'good') return void response.writeHead(403).end();
    send(host, request, response, { bytes: hub.damaged ?? bytes, etag: `"${sum('md5', bytes)}"` });
  });
  const server = await startHost(({ url, request, response, host }) => {
    const { pathname } = url;
    if (hub.token !== undefined && request.headers.authorization !== `Bearer ${hub.token}`)
      return sendJson(response, { error: 'Invalid username or password.' }, 401);
    const [, api, repo = '', what = '', rest = ''] =
      /^(\/api\/models)?\/([\w.-]+\/[\w.-]+)\/(revision|tree|resolve)\/(.*)$/.exec(decodeURIComponent(pathname)) ?? [];
    const files = repos[repo];
    if (files === undefined) return sendJson(response, { error: 'Repository not found' }, 404);
    const [revision = '', ...path] = rest.split('/');
    if (what === 'revision' && api !== undefined)
      return ['main', 'v1.0', SHA].includes(rest)
        ? sendJson(response, {
            _id: '65f',
            id: repo,
            sha: SHA,
            private: false,
            gated: false,
            downloads: 3,
            likes: 0,
            lastModified: '2026-10-01T10:00:00.000Z',
          })
        : sendJson(response, { error: `Invalid rev id: ${rest}` }, 404);
    if (revision !== SHA) return sendJson(response, { error: 'not the commit' }, 404);
    if (what === 'tree' && api !== undefined) return tree({ files, folder: path.join('/'), url, response });
    const bytes = files[path.join('/')];
    if (bytes === undefined)
      return void response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end('Entry not found');
    if (bytes.length <= LFS_BYTES) return send(host, request, response, { bytes, etag: `"${gitSum(bytes)}"` });
    const location = hub.redirect ?? `${cdn.url}/${sum('sha256', bytes)}?Signature=good`;
    response
      .writeHead(302, { location, 'x-linked-size': bytes.length, 'x-linked-etag': `"${sum('sha256', bytes)}"` })
      .end();
  });
  const hub: Hub = Object.assign(server, { cdn, repos, token: undefined, redirect: undefined, damaged: undefined });
  return hub;
}

/** One entry a page. */
function tree({
  files,
  folder,
  url,
  response,
}: {
  files: Record<string, Buffer>;
  folder: string;
  url: URL;
  response: Parameters<typeof sendJson>[0];
}): void {
  const rows = Object.entries(files)
    .filter(([path]) => folder === '' || path.startsWith(`${folder}/`))
    .map(([path, bytes]) => {
      const oid = gitSum(bytes);
      if (bytes.length <= LFS_BYTES) return { type: 'file', oid, size: bytes.length, path };
      const lfs = { oid: sum('sha256', bytes), size: bytes.length, pointerSize: 134 };
      return { type: 'file', oid, size: bytes.length, lfs, path };
    });
  if (rows.length === 0) return sendJson(response, { error: 'not found' }, 404);
  const at = Number(url.searchParams.get('cursor') ?? 0);
  const next = new URL(url);
  next.searchParams.set('cursor', String(at + 1));
  sendJson(response, rows.slice(at, at + 1), 200, at + 1 < rows.length ? { link: `<${next.href}>; rel="next"` } : {});
}

const gitSum = (bytes: Buffer): string => sum('sha1', Buffer.concat([Buffer.from(`blob ${bytes.length}\0`), bytes]));
