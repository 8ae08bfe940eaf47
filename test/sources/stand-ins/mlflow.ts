// An MLflow tracking server that serves its artifacts: the registry's aliases and versions, and the proxy that lists one folder at a time.
// Shapes of MLflow 3.18 (server/handlers.py).
import { type Host, send, sendJson, startHost, sum } from './host.ts';

export interface Mlflow extends Host {
  /** Path below the root of artifacts -> content. */
  readonly artifacts: Record<string, Buffer>;
  /** Version of the model `my-model` -> where it lies. */
  readonly versions: Record<string, string>;
  readonly aliases: Record<string, string>;
  /** The Authorization header that it asks for, where it asks for any. */
  authorization: string | undefined;
}

const API = '/api/2.0/';
const PROXY = `${API}mlflow-artifacts/artifacts`;

export async function startMlflow(): Promise<Mlflow> {
  const server = await startHost(({ url, request, response, host }) => {
    const { pathname, searchParams: query } = url;
    if (mlflow.authorization !== undefined && request.headers.authorization !== mlflow.authorization)
      return void response
        .writeHead(401, { 'www-authenticate': 'Basic realm="mlflow"' })
        .end('You are not authenticated.');
    const missing = (what: string) =>
      sendJson(response, { error_code: 'RESOURCE_DOES_NOT_EXIST', message: `${what} not found` }, 404);
    if (pathname === `${API}mlflow/registered-models/alias`) {
      const version = query.get('name') === 'my-model' ? mlflow.aliases[query.get('alias') ?? ''] : undefined;
      if (version === undefined)
        return sendJson(
          response,
          { error_code: 'INVALID_PARAMETER_VALUE', message: 'Registered model alias not found.' },
          400,
        );
      return sendJson(response, {
        model_version: { name: 'my-model', version, status: 'READY', source: 'models:/m-1' },
      });
    }
    if (pathname === `${API}mlflow/model-versions/get-download-uri`) {
      const artifact_uri = query.get('name') === 'my-model' ? mlflow.versions[query.get('version') ?? ''] : undefined;
      return artifact_uri === undefined ? missing('version') : sendJson(response, { artifact_uri });
    }
    if (pathname === PROXY) return sendJson(response, listOf(mlflow.artifacts, query.get('path') ?? ''));
    const bytes = pathname.startsWith(`${PROXY}/`)
      ? mlflow.artifacts[decodeURIComponent(pathname.slice(PROXY.length + 1))]
      : undefined;
    if (bytes === undefined) return missing('artifact');
    send(host, request, response, { bytes, etag: `"${sum('md5', bytes)}"` });
  });
  const mlflow: Mlflow = Object.assign(server, { artifacts: {}, versions: {}, aliases: {}, authorization: undefined });
  return mlflow;
}

/** protobuf's JSON: an empty list is left out, and an int64 is text. */
function listOf(artifacts: Mlflow['artifacts'], folder: string): unknown {
  const files = new Map<string, unknown>();
  for (const [path, bytes] of Object.entries(artifacts)) {
    if (!path.startsWith(`${folder}/`)) continue;
    const [name = '', ...below] = path.slice(folder.length + 1).split('/');
    files.set(
      name,
      below.length > 0 ? { path: name, is_dir: true } : { path: name, is_dir: false, file_size: String(bytes.length) },
    );
  }
  return files.size === 0 ? {} : { files: [...files.values()] };
}
