// hf:org/repo[/folder][@revision]: a repo of the Hugging Face Hub, or of a mirror that speaks its API. The revision is resolved to its commit once; what is
// listed and fetched is that commit. Files come by their plain address, by ranges, so that they can be gone on with.
import { listFiles, modelInfo } from '@huggingface/hub';
import { z } from 'zod';
import { failed } from './failures.ts';
import { type Checksum, invalid, type RemoteFile } from './listing.ts';
import { ENTRIES_MAX, encoded, type Reader, tooMany } from './reader.ts';
import { print } from './uri.ts';

const Row = z.object({
  type: z.string(),
  path: z.string(),
  size: z.number().optional(),
  oid: z.string().optional(),
  lfs: z.object({ oid: z.string(), size: z.number() }).optional(),
});

export const listHf: Reader<'hf'> = async (source, { client, settings }) => {
  const { repo, folder, revision } = source;
  const hubUrl = settings.hf.url;
  // The Hub's client asks, ours decides where it may and what a refusal means.
  const fetch = ((input: string | URL, init?: { headers?: Record<string, string> }) =>
    client.whole(String(input), init ?? {})) as typeof globalThis.fetch;
  const { sha } = await spoken(modelInfo({ name: repo, revision, additionalFields: ['sha'], hubUrl, fetch }), hubUrl);
  if (!/^[0-9a-f]{40}$/.test(sha)) throw failed(`${print(source)}: ${hubUrl} names no commit.`);
  const uri = print({ ...source, revision: sha });
  const files: RemoteFile[] = [];
  const entries = listFiles({ repo, revision: sha, path: encoded(folder), recursive: true, hubUrl, fetch });
  for (;;) {
    const { done, value } = await spoken(entries.next(), hubUrl);
    if (done) return { uri, files };
    if (files.length >= ENTRIES_MAX) throw invalid(tooMany(uri));
    const row = Row.safeParse(value);
    if (!row.success) throw strange(hubUrl);
    const { type, path, size, lfs, oid } = row.data;
    if (type !== 'file') continue;
    const checksum: Checksum | undefined =
      lfs === undefined
        ? oid === undefined
          ? undefined
          : { algorithm: 'git', hex: oid }
        : { algorithm: 'sha256', hex: lfs.oid };
    files.push({
      path,
      size: lfs?.size ?? size,
      checksum,
      ...client.at(`${hubUrl}/${repo}/resolve/${sha}/${encoded(path)}`),
    });
  }
};

/** What the Hub's client makes of an answer that is not the Hub's. */
async function spoken<T>(answer: Promise<T>, hubUrl: string): Promise<T> {
  return answer.catch((error: unknown) => {
    throw error instanceof SyntaxError || error instanceof TypeError ? strange(hubUrl) : error;
  });
}

const strange = (hubUrl: string) => failed(`${hubUrl} answers, but not as the Hub does: is sources.hf.url right?`);
