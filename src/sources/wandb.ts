// wandb:entity/project/name:v3: an artifact of Weights & Biases. GraphQL names its manifest, the manifest its files with their MD5, and each
// is asked for by it; the server sends on to a signed address. What an artifact only refers to elsewhere is not fetched.
import { z } from 'zod';
import { StepgateError } from '../errors.ts';
import { failed } from './failures.ts';
import { type Checksum, invalid, type RemoteFile } from './listing.ts';
import { ENTRIES_MAX, type Reader, tooMany } from './reader.ts';
import { print } from './uri.ts';

const QUERY = `query StepgateArtifact($entity: String!, $project: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    artifact(name: $name) { versionIndex state currentManifest { file { directUrl } } }
  }
}`;

const Answer = z.object({
  data: z.object({
    project: z
      .object({
        artifact: z
          .object({
            versionIndex: z.number().nullable(),
            state: z.string(),
            currentManifest: z.object({ file: z.object({ directUrl: z.url() }) }).nullable(),
          })
          .nullable(),
      })
      .nullable(),
  }),
});
const Manifest = z.object({
  storagePolicyConfig: z
    .object({ storageLayout: z.string().default('V1'), storageRegion: z.string().default('default') })
    .prefault({}),
  contents: z.record(
    z.string(),
    z.object({
      digest: z.string(),
      size: z.number().optional(),
      birthArtifactID: z.string().default(''),
      ref: z.string().optional(),
      extra: z.record(z.string(), z.unknown()).default({}),
    }),
  ),
});

export const listWandb: Reader<'wandb'> = async (source, { client, settings }) => {
  const { entity, project, artifact, version } = source;
  const { url } = settings.wandb;
  const asked = { query: QUERY, variables: { entity, project, name: `${artifact}:${version}` } };
  const strange = () => failed(`${print(source)}: ${url} answers, but not as W&B does: is sources.wandb.url right?`);
  const said = await client.json(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(asked),
  });
  const answer = Answer.safeParse(said);
  if (!answer.success) {
    const words = client.says(JSON.stringify(said));
    throw words === '' ? strange() : failed(`${print(source)}: W&B refuses.${words}`);
  }
  const found = answer.data.data.project?.artifact;
  if (!found)
    throw new StepgateError(
      'source_not_found',
      `${print(source)}: W&B knows no such artifact, or needs a key (sources.wandb) to tell.`,
      { param: 'source' },
    );
  if (found.state !== 'COMMITTED' || found.currentManifest === null)
    throw failed(`${print(source)} is ${found.state.slice(0, 50)} at W&B, not committed (yet).`);
  const uri = print({ ...source, version: found.versionIndex === null ? version : `v${found.versionIndex}` });
  const manifest = Manifest.safeParse(await client.json(found.currentManifest.file.directUrl));
  if (!manifest.success) throw strange();
  const { contents, storagePolicyConfig } = manifest.data;
  const entries = Object.entries(contents);
  if (entries.length > ENTRIES_MAX) throw invalid(tooMany(uri));
  const files = entries.flatMap(([path, { digest, size, birthArtifactID, ref, extra }]): RemoteFile[] => {
    if (ref !== undefined) return [];
    const hex = Buffer.from(digest, 'base64').toString('hex');
    // Newer clients write XXH128, of the same length, and say so.
    const checksum: Checksum | undefined = (extra.alg ?? 'MD5') === 'MD5' ? { algorithm: 'md5', hex } : undefined;
    const parts =
      storagePolicyConfig.storageLayout === 'V1'
        ? ['artifacts', entity, hex]
        : [
            'artifactsV2',
            storagePolicyConfig.storageRegion,
            entity,
            project,
            artifact,
            birthArtifactID,
            hex,
            path.slice(path.lastIndexOf('/') + 1),
          ];
    return [{ path, size, checksum, ...client.at(`${url}/${parts.map(encodeURIComponent).join('/')}`) }];
  });
  if (files.length === 0 && entries.length > 0)
    throw invalid(`${uri} only refers to files that are elsewhere, which are not fetched. Register it from there.`);
  return { uri, files };
};
