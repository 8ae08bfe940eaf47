// Adapters that no vLLM loads, made from a good one by one change each, with the words it has for them.
import { cp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface BadAdapter {
  readonly what: string;
  readonly status: number;
  readonly type: string;
  /** A part of the message. */
  readonly says: string;
  spoil(path: string): Promise<void>;
}

const worker = { status: 500, type: 'InternalServerError' };

const config =
  (change: (config: Record<string, unknown>) => void) =>
  async (path: string): Promise<void> => {
    const file = join(path, 'adapter_config.json');
    const value = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
    change(value);
    await writeFile(file, JSON.stringify(value));
  };

const tensors =
  (change: (file: Buffer) => Buffer) =>
  async (path: string): Promise<void> => {
    const file = join(path, 'adapter_model.safetensors');
    await writeFile(file, change(await readFile(file)));
  };

export const BAD_ADAPTERS: readonly BadAdapter[] = [
  {
    what: 'a directory without adapter_config.json',
    status: 404,
    type: 'NotFoundError',
    says: 'No adapter found for',
    spoil: (path) => rm(join(path, 'adapter_config.json')),
  },
  {
    what: 'a rank over the maximum',
    ...worker,
    says: 'LoRA rank 4096 is greater than max_lora_rank',
    spoil: config((c) => (c.r = 4096)),
  },
  { what: 'DoRA', ...worker, says: 'vLLM does not yet support DoRA.', spoil: config((c) => (c.use_dora = true)) },
  {
    what: 'modules_to_save',
    ...worker,
    says: "Unsupported modules_to_save: ['lm_head']",
    spoil: config((c) => (c.modules_to_save = ['lm_head'])),
  },
  { what: 'a bias', ...worker, says: 'Adapter bias is not supported.', spoil: config((c) => (c.bias = 'all')) },
  {
    what: 'a config without rank',
    ...worker,
    says: "Missing required configuration fields: {'r'}",
    spoil: config((c) => delete c.r),
  },
  {
    what: 'a half-written config',
    ...worker,
    says: 'Expecting value: line 1 column',
    spoil: (path) => writeFile(join(path, 'adapter_config.json'), '{"r": '),
  },
  {
    what: 'no tensors',
    ...worker,
    says: "doesn't contain tensors",
    spoil: (path) => rm(join(path, 'adapter_model.safetensors')),
  },
  {
    what: 'an empty file of tensors',
    ...worker,
    says: 'Error while deserializing header: header too small',
    spoil: (path) => truncate(join(path, 'adapter_model.safetensors'), 0),
  },
  {
    what: 'tensors cut in their header',
    ...worker,
    says: 'Error while deserializing header: invalid header length',
    spoil: (path) => truncate(join(path, 'adapter_model.safetensors'), 100),
  },
  {
    what: 'truncated tensors',
    ...worker,
    says: 'Error while deserializing header: incomplete metadata, file not fully covered',
    spoil: tensors((file) => file.subarray(0, file.length - 1000)),
  },
  {
    what: 'tensors of modules that the base has not',
    ...worker,
    says: 'expected target modules in {',
    spoil: tensors((file) => Buffer.from(file.toString('latin1').replaceAll('.q_proj.', '.x_proj.'), 'latin1')),
  },
];

/** A copy of the good adapter at `path`, spoiled. */
export async function makeBad(good: string, path: string, bad: BadAdapter): Promise<void> {
  await cp(good, path, { recursive: true });
  await bad.spoil(path);
}
