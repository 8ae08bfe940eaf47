// mlflow:models:/name/5 or models:/name@alias: a version of a registered model. Its files come through the tracking server's own proxy
// (mlflow-artifacts), or from the bucket that the server names. MLflow tells sizes, but no digests.
import { z } from 'zod';
import { failed } from './failures.ts';
import { invalid, nameOf, type RemoteFile } from './listing.ts';
import { ENTRIES_MAX, encoded, type Reader, tooMany } from './reader.ts';
import { print, under } from './uri.ts';

const ByAlias = z.object({ model_version: z.object({ version: z.union([z.string(), z.number()]) }) });
const DownloadUri = z.object({ artifact_uri: z.string() });
const Files = z.object({
  files: z
    .array(z.object({ path: z.string(), is_dir: z.boolean().default(false), file_size: z.coerce.number().optional() }))
    .default([]),
});
const DEPTH_MAX = 4;

export const listMlflow: Reader<'mlflow'> = async (source, { client, settings, elsewhere }) => {
  const { url } = settings.mlflow;
  if (url === undefined)
    throw invalid(`${print(source)}: set sources.mlflow.url in the config to the address of your MLflow server.`);
  const api = async <T extends z.ZodType>(path: string, shape: T): Promise<z.output<T>> => {
    const answer = shape.safeParse(await client.json(`${url}/api/2.0/${path}`));
    if (answer.success) return answer.data;
    throw failed(`${print(source)}: ${url} answers, but not as MLflow does: is sources.mlflow.url right?`);
  };
  const { model, version, folder } = source;
  const number =
    'number' in version
      ? version.number
      : String(
          (await api(`mlflow/registered-models/alias?${query({ name: model, alias: version.alias })}`, ByAlias))
            .model_version.version,
        );
  const uri = print({ ...source, version: { number } });
  const { artifact_uri: root } = await api(
    `mlflow/model-versions/get-download-uri?${query({ name: model, version: number })}`,
    DownloadUri,
  );
  if (root.startsWith('s3://')) {
    const { files } = await elsewhere(under(root.replace(/\/+$/, ''), folder));
    return { uri, files: files.map((file) => ({ ...file, path: under(folder, nameOf(file.path)) })) };
  }
  const [, path] = /^mlflow-artifacts:\/(?:\/[^/]*\/)?(.*)$/.exec(root) ?? [];
  if (path === undefined)
    throw failed(
      `${uri} is at ${root.slice(0, 200)}, which the gateway cannot read: only what the MLflow server serves itself (mlflow-artifacts:) or s3:.`,
    );
  const proxy = 'mlflow-artifacts/artifacts';
  const files: RemoteFile[] = [];
  const walk = async (below: string, depth: number): Promise<void> => {
    const listed = await api(`${proxy}?${query({ path: under(path, below) })}`, Files);
    for (const { path: entry, is_dir, file_size } of listed.files) {
      if (files.length >= ENTRIES_MAX) throw invalid(tooMany(uri));
      const name = under(below, entry.slice(entry.lastIndexOf('/') + 1));
      if (is_dir && depth < DEPTH_MAX) await walk(name, depth + 1);
      if (is_dir) continue;
      files.push({
        path: name,
        size: file_size,
        ...client.at(`${url}/api/2.0/${proxy}/${encoded(under(path, name))}`),
      });
    }
  };
  await walk(folder, 0);
  return { uri, files };
};

const query = (fields: Readonly<Record<string, string>>): string => new URLSearchParams(fields).toString();
