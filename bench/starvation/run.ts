// The starvation bench: an engine with as many busy adapters as slots, and one request for one more; straight at the engine, and through
// stepgate in front of the same engine. Owns the flags and the order of the scenes; what is measured is scene.ts', how it reads report.ts'.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { CLASSES } from '../../src/domain.ts';
import { type Door, stepgate, straight } from './doors.ts';
import { type Engine, openEngine } from './engines.ts';
import { conclusionsOf, DOORS, type DoorName, figuresOf, LEGEND, type Played, tableOf } from './report.ts';
import { CASES, type Case, type Plan, play, playSides, type Scene } from './scene.ts';

const HELP = `node bench/starvation/run.ts [--quick] [--sim | --url URL --adapters DIR] ...

Two adapters are kept busy on an engine with two slots. How long does a request
for a third wait: straight at the engine, and through stepgate before it?

  --sim            the simulated engine in place of the real vLLM; as --quick
  --url URL        an engine that runs already, with runtime loading of LoRA
  --adapters DIR   its checkpoint-<step> directories, one more than slots
  --slots N        its --max-loras (2)
  --clients N      for each busy adapter, in a closed loop (6)
  --class NAME     x-stepgate-class of the third: ${CLASSES.join(', ')}
                   (without it the gateway's guess: interactive)
  --asks N         requests of the third, one after the other (5; quick 2)
  --limit-s N      it has starved when no token came by then (60; quick 10)
  --rounds N       each case so many times (3; quick 1)
  --seed N         of the lengths of answers (1)
  --json FILE      the figures and every scene
  --quick          under two minutes; without it a quarter of an hour

Without --sim and --url it starts vLLM on the CPU, which it installs once
(5 minutes, 8 GB; VLLM_VENV is where, if it is there already).`;

const { values: flags } = parseArgs({
  options: {
    sim: { type: 'boolean', default: false },
    url: { type: 'string' },
    adapters: { type: 'string' },
    slots: { type: 'string' },
    clients: { type: 'string' },
    class: { type: 'string' },
    asks: { type: 'string' },
    'limit-s': { type: 'string' },
    rounds: { type: 'string' },
    seed: { type: 'string' },
    json: { type: 'string' },
    quick: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const OPEN = { straight, stepgate } satisfies Record<DoorName, (engine: Engine) => Promise<Door>>;

type Scenes = Record<DoorName, Record<Case, Scene[]>>;

function whole(flag: 'slots' | 'clients' | 'asks' | 'limit-s' | 'rounds' | 'seed', fallback: number): number {
  const value = Number(flags[flag] ?? fallback);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${flag} must be a whole number of at least 1`);
  return value;
}

function plan(quick: boolean): Plan {
  const kind = flags.class;
  if (kind !== undefined && !CLASSES.some((known) => known === kind))
    throw new Error(`--class is one of ${CLASSES.join(', ')}`);
  return {
    clients: whole('clients', 6),
    aloneS: quick ? 5 : 15,
    asks: whole('asks', quick ? 2 : 5),
    pauseS: quick ? 1 : 2,
    limitS: whole('limit-s', quick ? 10 : 60),
    seed: whole('seed', 1),
    class: kind,
  };
}

/** The doors take turns, and the first turn too, so that a machine that slows down slows both. */
async function playAll(engine: Engine, plan: Plan, rounds: number): Promise<Played> {
  const scenes: Scenes = { straight: { late: [], 'at once': [] }, stepgate: { late: [], 'at once': [] } };
  const sides: Played['sides'][number][] = [];
  const startedAt = performance.now();
  const say = (round: number, what: string) => {
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
    console.error(`${seconds.padStart(4)} s  round ${round + 1} of ${rounds}: ${what}`);
  };
  for (let round = 0; round < rounds; round++) {
    const seededPlan = { ...plan, seed: plan.seed + round };
    for (const kind of CASES) {
      for (const name of round % 2 === 0 ? DOORS : DOORS.toReversed()) {
        say(round, `${name}, ${kind}`);
        const scene = await at(OPEN[name](engine), (door) => play(door, kind, seededPlan));
        scenes[name][kind].push(scene);
      }
    }
    say(round, 'side by side');
    sides.push(await at(stepgate(engine), (gateway) => playSides({ gateway, engine }, seededPlan)));
  }
  return { scenes, sides };
}

async function at<T>(opening: Promise<Door>, use: (door: Door) => Promise<T>): Promise<T> {
  const door = await opening;
  try {
    return await use(door);
  } finally {
    await door.close();
  }
}

async function main(): Promise<void> {
  if (flags.help) return console.log(HELP);
  const quick = flags.quick || flags.sim;
  const planned = plan(quick);
  const rounds = whole('rounds', quick ? 1 : 3);
  const engine = await openEngine({ ...flags, slots: whole('slots', 2) });
  try {
    const played = await playAll(engine, planned, rounds);
    const figures = figuresOf(played);
    console.log(
      `\n${engine.what}; ${engine.slots} adapters kept busy by ${planned.clients} clients each,\none more asked for by one client; rounds: ${rounds}\n`,
    );
    console.log(`${tableOf(figures, planned)}\n\n${LEGEND}\n\n${conclusionsOf(played, figures, planned).join('\n')}`);
    if (flags.json !== undefined) {
      const setting = { engine: engine.what, slots: engine.slots, rounds, ...planned, node: process.version };
      writeFileSync(flags.json, `${JSON.stringify({ setting, figures, ...played }, null, 2)}\n`);
    }
  } finally {
    await engine.close();
  }
}

// What was started must not be left behind: it is stopped on exit, which a signal alone does not bring about.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

await main().catch((error: unknown) => {
  console.error(error instanceof Error && error.cause === undefined ? error.message : error);
  process.exitCode = 1;
});
