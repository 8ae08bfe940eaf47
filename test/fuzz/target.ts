// What is fuzzed: one promise about input that others write, as a property of fast-check. `npm run fuzz` asks it by the million (run.ts), CI a
// slice of it (fuzz.test.ts). A target has an oracle: that nothing throws is the least of it.
import { ok } from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';

export interface Target {
  readonly name: string;
  /** What holds for every input, a sentence. */
  readonly promise: string;
  /** Inputs in CI: about a second of them. */
  readonly slice: number;
  /** `scratch`: an empty directory for those that read files. */
  readonly property: (scratch: string) => fc.IRawProperty<unknown>;
}

/** Rejects with fast-check's report: the seed, the path to the shrunk input, and that input. */
export async function ask(
  { property }: Target,
  { scratch, seed, runs }: { scratch: string; seed: number; runs: number },
): Promise<void> {
  await fc.assert(property(scratch), { seed, numRuns: runs, includeErrorInReport: true });
}

/** As assert's deepStrictEqual, at a tenth of its price where all is well. */
export function same(found: unknown, wanted: unknown): void {
  ok(isDeepStrictEqual(found, wanted), `found  ${show(found)}\nwanted ${show(wanted)}`);
}

const show = (value: unknown): string => fc.stringify(value).slice(0, 2_000);
