// Weights & Biases: GraphQL names an artifact's manifest, the manifest its files; each is behind a redirect to a storage host that knows no keys
// of W&B. Shapes of wandb 0.31 (sdk/artifacts).
import { type Host, send, sendJson, startHost, sum } from './host.ts';

export const API_KEY = 'a'.repeat(40);

export interface Wandb extends Host {
  readonly storage: Host;
  /** Of `team/runs/my-model:v3`, which is also `:best`. */
  readonly files: Record<string, Buffer>;
  /** Paths that are only references elsewhere. */
  readonly references: string[];
  layout: 'V1' | 'V2';
  /** Digests are of another algorithm, and say so. */
  isXxh: boolean;
  state: string;
}

export async function startWandb(): Promise<Wandb> {
  const files: Wandb['files'] = {};
  const byDigest = (hex: string | undefined) =>
    Object.values(files).find((bytes) => digestOf(wandb, bytes).toString('hex') === hex);
  const storage = await startHost(({ url, request, response, host }) => {
    if (request.headers.authorization !== undefined)
      return void response.writeHead(400).end('Unsupported Authorization Type');
    if (url.pathname === '/manifest') return sendJson(response, manifestOf(wandb));
    const bytes = byDigest(url.pathname.slice(1));
    if (bytes === undefined) return void response.writeHead(404).end();
    send(host, request, response, { bytes, etag: `"${sum('md5', bytes)}"` });
  });
  const server = await startHost(async ({ url, request, response }) => {
    if (request.headers.authorization !== `Basic ${Buffer.from(`api:${API_KEY}`).toString('base64')}`)
      return sendJson(response, { errors: [{ message: 'permission denied' }] }, 401);
    if (url.pathname === '/graphql') return sendJson(response, answer(wandb, JSON.parse(await textOf(request))));
    const parts = url.pathname.split('/').map(decodeURIComponent).slice(1);
    const isKnown =
      wandb.layout === 'V1'
        ? parts.length === 3 && parts.slice(0, 2).join() === 'artifacts,team'
        : parts.length === 8 && parts.slice(0, 6).join() === 'artifactsV2,gcp-us,team,runs,my-model,QXJ0aWZhY3Q6MQ==';
    const md5 = wandb.layout === 'V1' ? parts[2] : parts[6];
    if (!isKnown || byDigest(md5) === undefined) return void response.writeHead(404).end();
    response.writeHead(307, { location: `${storage.url}/${md5}` }).end();
  });
  const wandb: Wandb = Object.assign(server, {
    storage,
    files,
    references: [],
    layout: 'V2' as const,
    isXxh: false,
    state: 'COMMITTED',
  });
  return wandb;
}

function answer(wandb: Wandb, { variables }: { variables: Record<string, string> }): unknown {
  const { entity, project, name } = variables;
  if (entity !== 'team' || project !== 'runs') return { data: { project: null } };
  if (name !== 'my-model:v3' && name !== 'my-model:best') return { data: { project: { artifact: null } } };
  const currentManifest = { file: { directUrl: `${wandb.storage.url}/manifest` } };
  return { data: { project: { artifact: { versionIndex: 3, state: wandb.state, currentManifest } } } };
}

/** 16 bytes; what kind of sum is all the same here. */
const digestOf = ({ isXxh }: Wandb, bytes: Buffer): Buffer =>
  Buffer.from(isXxh ? sum('sha256', bytes).slice(0, 32) : sum('md5', bytes), 'hex');

function manifestOf(wandb: Wandb): unknown {
  const { files, references, layout, isXxh } = wandb;
  const contents = Object.entries(files).map(([path, bytes]) => [
    path,
    {
      digest: digestOf(wandb, bytes).toString('base64'),
      ...(isXxh && { extra: { alg: 'XXH128' } }),
      size: bytes.length,
      birthArtifactID: 'QXJ0aWZhY3Q6MQ==',
      ...(references.includes(path) && { ref: `s3://else/${path}` }),
    },
  ]);
  const storagePolicyConfig = layout === 'V1' ? {} : { storageLayout: 'V2', storageRegion: 'gcp-us' };
  return {
    version: 1,
    storagePolicy: 'wandb-storage-policy-v1',
    storagePolicyConfig,
    contents: Object.fromEntries(contents),
  };
}

async function textOf(request: AsyncIterable<Buffer>): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}
