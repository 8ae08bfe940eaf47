// A process that registers checkpoints and is killed: argv = data directory, then NAME=PATH pairs. It prints the name of each
// one that was acknowledged, and never closes the registry.
import { Registry } from '../../src/registry/registry.ts';

const [dataDir = '', ...pairs] = process.argv.slice(2);
const registry = await Registry.open({
  dataDir,
  roots: [],
  models: new Map(),
  rescanMs: 1_000,
  settleMs: 1_000,
  nowMs: Date.now,
  onChange: () => {},
  onProblem: () => {},
});
for (const pair of pairs) {
  const [name = '', path = ''] = pair.split('=');
  const checkpoint = await registry.register({ name, path }).catch((error: unknown) => ({ name: String(error) }));
  process.stdout.write(`${checkpoint.name}\n`);
}
