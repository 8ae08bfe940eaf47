// Where the hot path's CPU time goes: stepgate under the bench's load, Node's own profiler on it once it is warm.
// Writes a .cpuprofile per load (a flame graph in speedscope, Chrome's developer tools or VS Code) and prints tables of self time.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Contender, Ring } from '../gateway/contenders.ts';
import { Inspector } from '../gateway/inspector.ts';
import { round } from '../gateway/measure.ts';
import { SCENARIOS } from '../gateway/scenarios.ts';
import { type Profile, tablesOf } from './tables.ts';

const { values: flags } = parseArgs({
  options: {
    loads: { type: 'string', default: 'json-64,stream-16' },
    seconds: { type: 'string', default: '5' },
    out: { type: 'string', default: new URL('out', import.meta.url).pathname },
    help: { type: 'boolean', default: false },
  },
});
/** Enough for V8 to have optimised what it will. */
const WARM_SECONDS = 4;
const SAMPLE_EVERY_US = 200;

async function profile(contender: Contender, id: string): Promise<void> {
  const load = SCENARIOS.find((one) => one.id === id)?.load;
  if (load === undefined) throw new Error(`--loads knows ${SCENARIOS.map((one) => one.id).join(', ')}`);
  await round(contender, load, WARM_SECONDS);
  // What a request costs without the profiler, which slows what it looks at.
  const { cpuUs, perSecond } = await round(contender, load, Number(flags.seconds));
  const inspector = await Inspector.attach(contender.inspectorPort ?? 0);
  await inspector.ask('Profiler.enable');
  await inspector.ask('Profiler.setSamplingInterval', { interval: SAMPLE_EVERY_US });
  await inspector.ask('Profiler.start');
  await round(contender, load, Number(flags.seconds));
  const { profile } = await inspector.ask<{ profile: Profile }>('Profiler.stop');
  inspector.close();
  const file = join(flags.out, `${id}.cpuprofile`);
  writeFileSync(file, JSON.stringify(profile));
  console.log(`\n${id}: ${cpuUs.toFixed(1)} us of CPU per request at ${perSecond.toFixed(0)}/s without the profiler`);
  console.log(tablesOf(profile, cpuUs));
  console.log(`\nflame graph: open ${file} in https://www.speedscope.app or in Chrome's developer tools (Performance)`);
}

if (flags.help) {
  console.log('npm run profile -- [--loads json-64,stream-16] [--seconds 5] [--out DIR]');
  console.log(`loads: ${SCENARIOS.map(({ id }) => id).join(', ')}`);
} else {
  mkdirSync(flags.out, { recursive: true });
  const ring = await Ring.open();
  try {
    const contender = await ring.stepgate('stepgate', { known: 100, inspected: true });
    for (const id of flags.loads.split(',')) await profile(contender, id);
  } finally {
    await ring.close();
  }
}
