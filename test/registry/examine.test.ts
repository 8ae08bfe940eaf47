// Adapters with headers of megabytes are examined in a thread of their own: with the same answers, and without holding up the gateway.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type Examined, examine, examineHere, type Question } from '../../src/registry/examine.ts';
import { openRegular } from '../../src/registry/inspect.ts';
import { type Originals, openOriginals } from '../../src/registry/originals.ts';
import { CONFIG, scratch, withHeader } from './fixtures.ts';

const EXPERTS = 2_000;
const TENSOR_BYTES = 4 * CONFIG.r;

/** Of many experts: a header of half a megabyte. */
function manyExperts({ nan = false, cut = 0, comment = '' } = {}): string {
  const names = Array.from({ length: EXPERTS }, (_, expert) => [`${expert}.q_proj.lora_A`, `${expert}.q_proj.lora_B`]);
  const header = names.flat().map((name, index) => {
    const shape = name.endsWith('A') ? [CONFIG.r, 1] : [1, CONFIG.r];
    const offsets = [index * TENSOR_BYTES, (index + 1) * TENSOR_BYTES];
    const tensor = { dtype: 'F32', shape, data_offsets: offsets };
    return [`base_model.model.model.layers.0.mlp.experts.${name}.weight`, tensor] as const;
  });
  const data = Buffer.alloc(header.length * TENSOR_BYTES);
  if (nan) data.writeFloatLE(Number.NaN, data.length - 4);
  const file = withHeader(Object.fromEntries(header), data);
  const dir = scratch();
  writeFileSync(join(dir, 'adapter_model.safetensors'), file.subarray(0, file.length - cut));
  writeFileSync(join(dir, 'adapter_config.json'), JSON.stringify({ ...CONFIG, comment }));
  return dir;
}

async function opened<T>(dir: string, use: (files: Originals) => Promise<T>): Promise<T> {
  const files = await openOriginals(dir, openRegular);
  if (files === undefined) throw new Error(`no adapter in ${dir}`);
  return use(files).finally(files.close);
}

const both = (dir: string, question: Question = { forNaN: true }): Promise<[Examined, Examined]> =>
  opened(dir, (files) => Promise.all([examine(files, question), examineHere(files, question)]));

test('the answer is the one that would be given here', async () => {
  const comment = 'x'.repeat(300_000); // a config that is not read whole with its beginning
  const cases: readonly [string, unknown][] = [
    [manyExperts(), { kind: 'whole', verdict: { kind: 'servable', rank: CONFIG.r } }],
    [manyExperts({ comment }), { kind: 'whole', verdict: { kind: 'servable' } }],
    [manyExperts({ nan: true }), { verdict: { reasons: [expect.stringContaining('NaN')] } }],
    [manyExperts({ cut: 1 }), { kind: 'incomplete', missing: expect.stringMatching(/has \d+ of \d+ bytes/) }],
  ];
  for (const [dir, expected] of cases) {
    const [aside, here] = await both(dir);
    expect(aside).toMatchObject(expected as object);
    expect(aside).toEqual(here);
  }
});

test('a header that is none, however long it says it is, is not read', async () => {
  const dir = manyExperts();
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(2n ** 62n);
  writeFileSync(join(dir, 'adapter_model.safetensors'), length, { flag: 'r+' });
  const [aside, here] = await both(dir);
  expect(aside).toMatchObject({ missing: expect.stringContaining('is it a safetensors file?') });
  expect(aside).toEqual(here);
});

test('the gateway goes on meanwhile; many at once are all answered', async () => {
  const dir = manyExperts();
  let turns = 0;
  const examined = Promise.all(
    Array.from({ length: 4 }, () => opened(dir, (files) => examine(files, { forNaN: false }))),
  );
  let isOver = false;
  void examined.finally(() => {
    isOver = true;
  });
  for (; !isOver; turns++) await setImmediate();
  expect((await examined).map(({ kind }) => kind)).toEqual(['whole', 'whole', 'whole', 'whole']);
  expect(turns).toBeGreaterThan(200); // 50 where it is done here
});
