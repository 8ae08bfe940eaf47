// Which steps of a model a sweep is over: what the person wrote, and what of it the gateway has. Asks nothing itself.
import { wrong } from '../terminal.ts';

/** `every` counts from `from`. */
export type Wanted = { readonly model: string } & (
  | { readonly kind: 'all' }
  | { readonly kind: 'list'; readonly steps: readonly number[] }
  | { readonly kind: 'range'; readonly from: number; readonly to: number; readonly every: number }
);

const GRAMMAR = 'my-model@10..200, my-model@10..200:10 (every 10), my-model@10,20,50 or my-model@* (all)';

/** @throws Failure */
export function parseSteps(text: string): Wanted {
  const [, model = '', which = ''] = /^(.+)@([^@]+)$/.exec(text) ?? [];
  if (which === '*') return { model, kind: 'all' };
  if (/^\d+(,\d+)*$/.test(which)) return { model, kind: 'list', steps: [...new Set(which.split(',').map(Number))] };
  const [, from, to, every = '1'] = /^(\d+)\.\.(\d+)(?::(\d+))?$/.exec(which) ?? [];
  if (from === undefined || Number(every) === 0) throw wrong(`"${text}" names no steps: write ${GRAMMAR}`);
  if (Number(from) > Number(to)) throw wrong(`"${text}" is empty: write the smaller step first`);
  return { model, kind: 'range', from: Number(from), to: Number(to), every: Number(every) };
}

/** A step as the admin API lists it. */
export interface ListedStep {
  readonly id: string;
  readonly name: string;
  readonly step?: number | null | undefined;
  readonly state: string;
  /** Backends that would load it. */
  readonly readyOn: readonly string[];
}

export interface Chosen<S extends ListedStep> {
  /** Ascending, or in the order of the list. */
  readonly steps: readonly (S & { readonly step: number })[];
  /** Those within the range that cannot be asked for. */
  readonly passedOver: readonly string[];
}

/** @throws Failure that names the steps of a list which cannot be asked for, or says that a range has none */
export function chooseSteps<S extends ListedStep>(wanted: Wanted, listed: readonly S[]): Chosen<S> {
  const stepped = listed.filter((row): row is S & { step: number } => typeof row.step === 'number');
  const { model } = wanted;
  if (wanted.kind === 'list') {
    const known = new Map(stepped.map((row) => [row.step, row]));
    const problems = wanted.steps.flatMap((step) => {
      const state = known.get(step)?.state;
      return state === 'servable' ? [] : [`${model}@${step} ${state === undefined ? 'does not exist' : `is ${state}`}`];
    });
    if (problems.length > 0) throw wrong(`${problems.join(', ')}: "stepgate ls ${model}" lists the steps`);
    return { steps: wanted.steps.flatMap((step) => known.get(step) ?? []), passedOver: [] };
  }
  const isIn = (step: number) =>
    wanted.kind === 'all' || (step >= wanted.from && step <= wanted.to && (step - wanted.from) % wanted.every === 0);
  const inside = stepped.filter(({ step, state }) => isIn(step) && state !== 'deleted').sort((a, b) => a.step - b.step);
  const steps = inside.filter(({ state }) => state === 'servable');
  if (steps.length === 0) {
    const found = inside.length > 0 ? `${inside.length} steps, none servable` : 'no step';
    throw wrong(`${model} has ${found} there: "stepgate ls ${model}" lists its steps`);
  }
  return { steps, passedOver: inside.filter(({ state }) => state !== 'servable').map(({ name }) => name) };
}

const FEW = 6;

/** `10, 20, 30, ..., 200`. */
export function sayNumbers(numbers: readonly number[]): string {
  if (numbers.length <= FEW) return numbers.join(', ');
  return `${numbers.slice(0, 3).join(', ')}, ..., ${numbers.at(-1)}`;
}
