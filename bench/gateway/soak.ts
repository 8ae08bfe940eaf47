// Does anything grow with the number of requests? The heap after a collection at 100,000 requests and at N, under the same load;
// and the memory of 1,000 slow streams, before and after.
import { Ring } from './contenders.ts';
import { Inspector } from './inspector.ts';
import { type Round, round } from './measure.ts';
import { costOf } from './processes.ts';
import { SCENARIOS } from './scenarios.ts';

const FIRST = 100_000;
const GROWTH_MAX = 0.05;
const loadOf = (id: string) => {
  const scenario = SCENARIOS.find((one) => one.id === id);
  if (scenario === undefined) throw new Error(`no scenario ${id}`);
  return scenario.load;
};

export async function soak(requests: number): Promise<void> {
  if (!(requests > FIRST)) throw new Error(`--soak takes a number of requests above ${FIRST}`);
  const ring = await Ring.open();
  try {
    const contender = await ring.stepgate('stepgate', { known: 100, inspected: true });
    const inspector = await Inspector.attach(contender.inspectorPort ?? 0);
    const look = async (when: string): Promise<number> => {
      const bytes = await inspector.heapBytes();
      const rssMb = costOf(contender.pid).rssMb.toFixed(0);
      console.log(
        `${when.padEnd(30)} heap ${(bytes / 1e6).toFixed(2).padStart(7)} MB   resident ${rssMb.padStart(4)} MB`,
      );
      return bytes;
    };
    const streams = () => round(contender, loadOf('slow-streams'), 5);
    await look('before');
    let done = 0;
    let failures = 0;
    /** In turns of some seconds, so that it stops soon after. */
    const until = async (count: number): Promise<void> => {
      while (done < count) {
        const load = loadOf(done % 2 === 0 ? 'json-64' : 'json-16');
        const one: Round = await round(contender, load, 5);
        done += Math.round(one.perSecond * 5);
        failures += one.failures;
      }
    };
    await until(FIRST);
    say('1,000 slow streams', await streams());
    const first = await look(`after ${done.toLocaleString('en')} requests`);
    await until(requests);
    say('1,000 slow streams', await streams());
    const last = await look(`after ${done.toLocaleString('en')} requests`);
    inspector.close();
    const growth = last / first - 1;
    const reached = growth <= GROWTH_MAX && failures === 0;
    console.log(
      `${reached ? 'reached' : 'NOT reached'}: ${(100 * growth).toFixed(1)} % growth (at most 5 %), ${failures} failures`,
    );
    if (!reached) process.exitCode = 1;
  } finally {
    await ring.close();
  }
}

const say = (what: string, { rssMb, failures, late }: Round): void =>
  console.log(`${what.padEnd(30)} resident ${rssMb.toFixed(0)} MB at most, ${failures} chunks missed, ${late} late`);
