// How long the gateway stands still while an adapter of many experts is examined: in a thread of its own, as it is, against in this one.
// node bench/registry/examine.ts [--experts 256] [--rounds 5]
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { examine, examineHere } from '../../src/registry/examine.ts';
import { openRegular } from '../../src/registry/inspect.ts';
import { openOriginals } from '../../src/registry/originals.ts';

const { values: flags } = parseArgs({
  options: { experts: { type: 'string', default: '256' }, rounds: { type: 'string', default: '5' } },
});
const LAYERS = 60;
const MODULES = ['gate_proj', 'up_proj', 'down_proj'];
const TENSOR_BYTES = 128;
const QUESTION = { forNaN: true };

const dir = await mkdtemp(join(tmpdir(), 'stepgate-examine-'));
const header = await write();
const stalls = { aside: [] as number[], here: [] as number[] };
const took = { aside: [] as number[], here: [] as number[] };
for (let round = 0; round < Number(flags.rounds); round++)
  for (const [name, way] of [
    ['aside', examine],
    ['here', examineHere],
  ] as const) {
    const files = await openOriginals(dir, openRegular);
    if (files === undefined) throw new Error('no adapter');
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const begunAt = performance.now();
    const { kind } = await way(files, QUESTION);
    took[name].push(performance.now() - begunAt);
    stalls[name].push(delay.max / 1e6);
    delay.disable();
    await files.close();
    if (kind !== 'whole') throw new Error(kind);
  }
await rm(dir, { recursive: true });

const line = (name: 'aside' | 'here') =>
  `${name.padEnd(6)} longest stall ${median(stalls[name]).toFixed(0).padStart(5)} ms, answer after ${median(took[name]).toFixed(0).padStart(5)} ms`;
console.log(
  `a header of ${(header / 1e6).toFixed(1)} MB; medians of ${flags.rounds}\n${line('aside')}\n${line('here')}`,
);
console.log(`stall, aside : here = ${(median(stalls.aside) / median(stalls.here)).toFixed(3)}`);

/** Resolves with the header's bytes. */
async function write(): Promise<number> {
  const tensors: Record<string, unknown> = {};
  let at = 0;
  for (let block = 0; block < LAYERS * Number(flags.experts); block++)
    for (const matrix of MODULES.flatMap((module) => [`${module}.lora_A`, `${module}.lora_B`])) {
      const [layer, expert] = [block % LAYERS, Math.floor(block / LAYERS)];
      const shape = matrix.endsWith('A') ? [1, TENSOR_BYTES / 2] : [TENSOR_BYTES / 2, 1];
      const tensor = { dtype: 'BF16', shape, data_offsets: [at, at + TENSOR_BYTES] };
      tensors[`base_model.model.model.layers.${layer}.mlp.experts.${expert}.${matrix}.weight`] = tensor;
      at += TENSOR_BYTES;
    }
  const text = Buffer.from(JSON.stringify(tensors));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  await writeFile(join(dir, 'adapter_model.safetensors'), Buffer.concat([length, text, Buffer.alloc(at)]));
  const config = { peft_type: 'LORA', r: 1, lora_alpha: 1, target_modules: MODULES };
  await writeFile(join(dir, 'adapter_config.json'), JSON.stringify(config));
  return text.length;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
