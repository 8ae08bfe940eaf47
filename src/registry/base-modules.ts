// Which modules a base has and of what shape, from the headers of its safetensors files; no tensor is read. It reads the directory that
// an engine of the config names as its base, and in it only files of the names below and the shards that they list: no other path.
// What cannot be read, or not wholly, is not known, and nothing is concluded from it.
import { isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { readJson, statOrNothing } from './inspect.ts';
import { readSafetensors, type Tensor } from './safetensors.ts';
import { isExpert } from './tensors.ts';

/** By a module's name, the shape of its weight as it is stored: [out, in]; of embeddings [vocabulary, width]. Undefined where the
 *  stored shape is not the weight's (quantised). Without experts, whose names and shapes change with the format. */
export type BaseModules = ReadonlyMap<string, readonly number[] | undefined>;

const WHOLE_FILE = 'model.safetensors';
const INDEX_FILE = 'model.safetensors.index.json';
/** The largest open models have 140,000 tensors in 15 MB. */
const INDEX_BYTES_MAX = 64 * 1024 * 1024;
/** ... and some 200 shards. */
const SHARDS_MAX = 2_000;
const MODULES_MAX = 200_000;
/** A fleet serves few bases; one that is forgotten is read again. */
const ROOTS_MAX = 16;

/** In these a weight is stored in its own shape; packed ones are integers. */
const UNPACKED: ReadonlySet<string> = new Set(['F64', 'F32', 'F16', 'BF16', 'F8_E4M3', 'F8_E5M2']);

const Index = z.object({ weight_map: z.record(z.string(), z.string()) });

export class BaseReader {
  /** The oldest first. */
  readonly #known = new Map<string, { readonly stamp: string; readonly modules: Promise<BaseModules | undefined> }>();

  /** Undefined: not a directory of this machine, or not whole. Reads again only what was written again. Never rejects. */
  async modulesOf(root: string | undefined): Promise<BaseModules | undefined> {
    // A hub's id is no path, and a relative one is the engine's own.
    if (root === undefined || !isAbsolute(root)) return undefined;
    try {
      const stamp = await stampIn(root);
      if (stamp === undefined) return undefined;
      const known = this.#known.get(root);
      if (known?.stamp === stamp) return await known.modules;
      const modules = read(root);
      this.#remember(root, { stamp, modules });
      const found = await modules.catch(() => undefined);
      // Its shards may still be on their way, which the stamp does not tell.
      if (found === undefined && this.#known.get(root)?.modules === modules) this.#known.delete(root);
      return found;
    } catch {
      return undefined;
    }
  }

  #remember(root: string, entry: { stamp: string; modules: Promise<BaseModules | undefined> }): void {
    this.#known.delete(root);
    this.#known.set(root, entry);
    const [oldest] = this.#known.keys();
    if (this.#known.size > ROOTS_MAX && oldest !== undefined) this.#known.delete(oldest);
  }
}

async function stampIn(root: string): Promise<string | undefined> {
  const whole = await statOrNothing(join(root, WHOLE_FILE));
  const found = whole ?? (await statOrNothing(join(root, INDEX_FILE)));
  return found && `${found.size}:${found.mtimeNs}:${found.ino}`;
}

async function read(root: string): Promise<BaseModules | undefined> {
  const shards = (await statOrNothing(join(root, WHOLE_FILE))) ? [WHOLE_FILE] : await shardsOf(root);
  if (shards === undefined || shards.length > SHARDS_MAX) return undefined;
  const modules = new Map<string, readonly number[] | undefined>();
  for (const shard of shards) {
    const file = await readSafetensors(join(root, shard));
    if (file.kind === 'broken') return undefined;
    for (const [name, tensor] of file.tensors) add(modules, name, tensor);
    if (modules.size > MODULES_MAX) return undefined;
  }
  return modules;
}

async function shardsOf(root: string): Promise<readonly string[] | undefined> {
  const index = Index.safeParse(await readJson(join(root, INDEX_FILE), { bytesMax: INDEX_BYTES_MAX }));
  if (!index.success) return undefined;
  const shards = [...new Set(Object.values(index.data.weight_map))];
  return shards.every((shard) => /^[^/\\]+\.safetensors$/.test(shard)) ? shards : undefined;
}

/** A module is known by any of its tensors (qweight, bias, scales, ...), its shape by its weight. */
function add(modules: Map<string, readonly number[] | undefined>, name: string, { dtype, shape }: Tensor): void {
  const at = name.lastIndexOf('.');
  const module = name.slice(0, at);
  if (at <= 0 || isExpert(module)) return;
  if (name.endsWith('.weight') && UNPACKED.has(dtype)) modules.set(module, shape);
  else if (!modules.has(module)) modules.set(module, undefined);
}
