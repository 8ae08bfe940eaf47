// Promise: what an S3 server lists is asked for under the key that it has, or not at all, however the server writes it, and a list of nonsense
// stops nobody.
import { expect, test } from 'vitest';
import { adapterFiles, inFolder } from './house.ts';
import { openRoom } from './room.ts';
import { startHost } from './stand-ins/host.ts';
import { startS3 } from './stand-ins/s3.ts';

const WEIGHTS = 'adapter_model.safetensors';

async function publicS3() {
  const s3 = await startS3();
  s3.isPublic = true;
  const room = await openRoom({ allow: ['s3://ckpts/runs'], s3: { url: s3.url } });
  return { s3, room, files: await adapterFiles() };
}

test.each([false, true])('keys with odd letters, listed as they are: %s', async (isPlain) => {
  const { s3, room, files } = await publicS3();
  s3.isPlain = isPlain;
  const folder = "runs/a+b c&'%/ü/%2B";
  Object.assign(s3.objects, inFolder(folder, files));
  expect((await room.bring(`s3://ckpts/${folder}`)).files?.[WEIGHTS]).toEqual(files[WEIGHTS]);
});

test('a key of dots, which in a URL is another, is no way out of what is allowed', async () => {
  const { s3, room, files } = await publicS3();
  Object.assign(s3.objects, inFolder('secret', files), inFolder('runs/x/../../secret', files));
  expect(await room.bring('s3://ckpts/runs')).toMatchObject({ code: 'checkpoint_invalid' });
  expect(s3.seen.filter(({ path }) => path.includes('secret/'))).toEqual([]);
});

test.each([
  ['a key that is not encoded as it says', '<EncodingType>url</EncodingType><Contents><Key>runs/100%</Key></Contents>'],
  // In a time that grows as its length does: at its square this takes hours.
  ['many beginnings without an end', '<Contents>'.repeat(1_000_000)],
])('%s is refused', async (_, list) => {
  const web = await startHost(({ response }) => void response.writeHead(200).end(`<ListBucketResult>${list}`));
  const room = await openRoom({ allow: ['s3://ckpts'], s3: { url: web.url } });
  expect(await room.bring('s3://ckpts/runs')).toMatchObject({
    code: expect.stringMatching(/^(source_failed|checkpoint_invalid)$/),
  });
});
