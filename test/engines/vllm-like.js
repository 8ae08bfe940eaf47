#!/usr/bin/env node
// What stands in for `vllm` where the gateway starts engines: takes the command line of `vllm serve MODEL --flags`, and serves it with the
// simulated engine. Flags of its own, as behaviours: --sim-exit CODE, --sim-silent, --sim-start-ms MS, --sim-deaf, --sim-chatty, --sim-child.
import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';
import { startSim } from '../../src/sim/sim.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    host: { type: 'string' },
    port: { type: 'string' },
    'served-model-name': { type: 'string' },
    'enable-lora': { type: 'boolean' },
    'max-loras': { type: 'string', default: '1' },
    'max-lora-rank': { type: 'string', default: '16' },
    'sim-exit': { type: 'string' },
    'sim-silent': { type: 'boolean' },
    'sim-start-ms': { type: 'string', default: '0' },
    'sim-deaf': { type: 'boolean' },
    'sim-chatty': { type: 'boolean' },
    'sim-child': { type: 'boolean' },
  },
});
const [serve, model] = positionals;
console.log(`vllm-like: ${serve} ${model} ${process.argv.slice(4).join(' ')}`);
console.log(`runtime loading: ${process.env.VLLM_ALLOW_RUNTIME_LORA_UPDATING}`);
console.log(`variables: ${Object.keys(process.env).sort().join(' ')}`);
if (values['sim-child']) spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' });
if (values['sim-deaf']) process.on('SIGTERM', () => console.log('SIGTERM, and it goes on'));
else process.on('SIGTERM', () => process.exit(0));
if (values['sim-exit'] !== undefined) {
  console.error('RuntimeError: CUDA out of memory');
  process.exit(Number(values['sim-exit']));
}
if (values['sim-chatty']) setInterval(() => console.log(`tick ${Date.now()}`), 20);
if (values['sim-silent']) setInterval(() => {}, 1e6);
else {
  await new Promise((resolve) => setTimeout(resolve, Number(values['sim-start-ms'])));
  const sim = await startSim({
    host: values.host,
    port: Number(values.port),
    base: [values['served-model-name'] ?? model],
    maxLoras: Number(values['max-loras']),
    maxLoraRank: Number(values['max-lora-rank']),
    loadMs: 5,
    firstTokenMs: 1,
    tokenMs: 1,
  });
  console.log(`Application startup complete: ${sim.url}`);
}
