// Reads an adapter's real files as vLLM would and finds what vLLM would find wrong with them, in its words and in its order.
// Must not remember anything: the engine asks again when it has evicted the weights.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { noAdapterAt, workerFailed } from './refusals.ts';

/** What the simulated engine keeps of an adapter's weights: enough to prove which ones answered. */
export interface Weights {
  /** SHA-256 of adapter_model.safetensors, hex: what `sha256sum` prints for the file. */
  readonly digest: string;
  readonly rank: number;
}

const REQUIRED = ['r', 'lora_alpha', 'target_modules'];
// The projections of a Llama, which vLLM replaces with LoRA layers. vLLM judges the tensors' names, not `target_modules`.
const MODULES = [
  'embed_tokens',
  'o_proj',
  'q_proj',
  'lm_head',
  'up_proj',
  'gate_proj',
  'k_proj',
  'v_proj',
  'down_proj',
];

/** Throws a `Refusal`: 404 where there is no adapter, 500 where its files are bad. `maxRank` is the engine's --max-lora-rank. */
export async function readAdapter(name: string, path: string, maxRank: number): Promise<Weights> {
  const config = parseConfig(await readConfig(name, path));
  const rank = checkConfig(config, maxRank);
  const file = await readFile(join(path, 'adapter_model.safetensors')).catch(() => {
    throw workerFailed(`${path} doesn't contain tensors`);
  });
  checkModules(path, Object.keys(parseHeader(file)));
  return { digest: createHash('sha256').update(file).digest('hex'), rank };
}

async function readConfig(name: string, path: string): Promise<string> {
  try {
    return await readFile(join(path, 'adapter_config.json'), 'utf8');
  } catch (error) {
    const isFile = error instanceof Error && 'code' in error && error.code === 'ENOTDIR';
    throw isFile ? workerFailed(`[Errno 20] Not a directory: '${path}'`) : noAdapterAt(name, path);
  }
}

function parseConfig(text: string): Record<string, unknown> {
  try {
    const config: unknown = JSON.parse(text);
    if (typeof config === 'object' && config !== null) return { ...config };
  } catch {
    // Told below: Python's words for it, whatever ours were.
  }
  throw workerFailed('Expecting value: line 1 column 1 (char 0)');
}

function checkConfig(config: Record<string, unknown>, maxRank: number): number {
  const missing = REQUIRED.filter((field) => !(field in config));
  if (missing.length > 0) {
    throw workerFailed(`Missing required configuration fields: {${missing.map((field) => `'${field}'`).join(', ')}}`);
  }
  const rank = Number(config.r);
  const complaints: string[] = [];
  if (Array.isArray(config.modules_to_save) && config.modules_to_save.length > 0) {
    const listed = config.modules_to_save.map((module) => `'${module}'`).join(', ');
    complaints.push(
      `vLLM only supports modules_to_save being either None or ["classifier", "score"] for classification models. Unsupported modules_to_save: [${listed}]`,
    );
  }
  if (config.use_dora === true) complaints.push('vLLM does not yet support DoRA.');
  if (rank > maxRank) complaints.push(`LoRA rank ${rank} is greater than max_lora_rank ${maxRank}.`);
  if (config.bias !== undefined && config.bias !== 'none') complaints.push('Adapter bias is not supported.');
  if (complaints.length > 0) throw workerFailed(complaints.join(' '));
  return rank;
}

/** The header of a safetensors file: tensor name -> description. Its checks are those of the safetensors library. */
function parseHeader(file: Buffer): Record<string, unknown> {
  const bad = (what: string) => workerFailed(`Error while deserializing header: ${what}`);
  if (file.length < 8) throw bad('header too small');
  const headerBytes = file.readBigUInt64LE(0);
  if (headerBytes > BigInt(file.length - 8)) throw bad('invalid header length');
  const dataAt = 8 + Number(headerBytes);
  const header = parseObject(file.toString('utf8', 8, dataAt));
  if (!header) throw bad('invalid JSON in header: EOF while parsing a value at line 1 column 0');
  delete header.__metadata__;
  let end = 0;
  for (const tensor of Object.values(header)) end = Math.max(end, endOf(tensor));
  if (dataAt + end !== file.length) throw bad('incomplete metadata, file not fully covered');
  return header;
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

function endOf(tensor: unknown): number {
  if (typeof tensor !== 'object' || tensor === null || !('data_offsets' in tensor)) return 0;
  return Array.isArray(tensor.data_offsets) ? Number(tensor.data_offsets[1]) : 0;
}

function checkModules(path: string, tensors: readonly string[]): void {
  const layers = tensors.map((tensor) =>
    tensor.replace(/^base_model\.model\./, '').replace(/\.lora_[AB]\.weight$/, ''),
  );
  const wrong = layers.filter((layer) => !MODULES.includes(layer.slice(layer.lastIndexOf('.') + 1)));
  if (wrong.length === 0) return;
  const quote = (names: readonly string[]) => names.map((name) => `'${name}'`).join(', ');
  throw workerFailed(
    `While loading ${path}, expected target modules in {${quote(MODULES)}} but received [${quote(wrong)}]. Please verify that the loaded LoRA module is correct`,
  );
}
