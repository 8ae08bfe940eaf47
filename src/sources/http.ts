// https://host/folder, where the files of an adapter lie beside one another, or https://host/adapter.tar.gz. There is no list to read: each
// name is asked for, and the head of its answer says what is there.
import { StepgateError } from '../errors.ts';
import { BrokenOff } from './failures.ts';
import { CONFIG, EXTRAS, lengthOf, nameOf, type RemoteFile, WEIGHTS } from './listing.ts';
import type { Reader } from './reader.ts';

/** Of an archive's name on our disk: its end says how it is packed. */
const NAME_CHARACTERS_MAX = 100;

export const listHttp: Reader<'https'> = async ({ url, query, isArchive }, { client }) => {
  const look = async (path: string, address: string): Promise<RemoteFile> => {
    // Not HEAD: a signed address is good for one method.
    const response = await client.ok(address);
    await response.body?.cancel();
    const etag = response.headers.get('etag');
    return {
      path,
      size: lengthOf(response),
      etag: etag?.startsWith('"') ? etag : undefined,
      ...client.at(address),
    };
  };
  if (isArchive) {
    const file = await look(nameOf(url).slice(-NAME_CHARACTERS_MAX), url + query);
    return { uri: url, files: [file], isArchive };
  }
  const [config, weights] = [
    await look(CONFIG, `${url}/${CONFIG}${query}`),
    await look(WEIGHTS, `${url}/${WEIGHTS}${query}`),
  ];
  const files = [config, weights];
  for (const name of EXTRAS) {
    const file = await look(name, `${url}/${name}${query}`).catch(ifBrokenOff);
    if (file !== undefined) files.push(file);
  }
  return { uri: url, files };
};

/** Servers that do not tell what is there refuse what is not. */
function ifBrokenOff(error: unknown): undefined {
  if (!(error instanceof StepgateError) || error instanceof BrokenOff) throw error;
}
