// Which checkpoints of a model stay and which go, and why. Pure: the same facts give the same verdicts, dry or not.
// A step goes only by a rule of the config, and never while something names, pins or uses it.
import { type AdapterId, type BestRule, type Checkpoint, type KeepRule, weightsOf } from '../domain.ts';
import { beats } from './best.ts';
import { covers, sayPin } from './pins.ts';
import type { Pin } from './store.ts';

export interface Verdict {
  readonly checkpoint: Checkpoint;
  readonly keep: boolean;
  /** Every reason to keep it, or the rules of which none does; for people. */
  readonly why: string;
}

export interface Facts {
  /** One model's, ascending by step. */
  readonly checkpoints: readonly Checkpoint[];
  /** Undefined, or without any number: nothing goes. */
  readonly keep: KeepRule | undefined;
  readonly best: BestRule;
  /** Where `latest`, `best` and the aliases lead. */
  readonly names: readonly { readonly alias: string; readonly step: number }[];
  /** Where deployments lead. */
  readonly deployments: readonly { readonly name: string; readonly step: number }[];
  readonly pins: readonly Pin[];
  readonly leased: (adapter: AdapterId) => boolean;
}

/** A verdict for each checkpoint that is not deleted already, in the order given. */
export function judge(facts: Facts): readonly Verdict[] {
  const { keep, checkpoints } = facts;
  const rules = keep === undefined ? [] : sayRules(keep);
  const servable = checkpoints.filter(({ step, state }) => step !== undefined && state.kind === 'servable');
  const newest = new Set(keep?.last === undefined ? servable.slice(-1) : servable.slice(-Math.max(1, keep.last)));
  const best = new Set(bestOf(servable, facts.best, keep?.best ?? 0));
  return checkpoints
    .filter(({ state }) => state.kind !== 'deleted')
    .map((checkpoint): Verdict => {
      const { step, state } = checkpoint;
      if (rules.length === 0) return { checkpoint, keep: true, why: 'no rule: models.NAME.keep is not set' };
      if (step === undefined) return { checkpoint, keep: true, why: 'an exact name, no step' };
      if (state.kind !== 'servable') return { checkpoint, keep: true, why: 'not servable: it takes no room' };
      const why = [
        ...facts.names.filter((name) => name.step === step).map(({ alias }) => `@${alias}`),
        ...facts.deployments.filter((one) => one.step === step).map(({ name }) => `deployment ${name}`),
        ...facts.pins.filter((pin) => covers(pin, step)).map(sayPin),
        ...(isLeased(checkpoint, facts) ? ['in use'] : []),
        ...(newest.has(checkpoint) ? [keep?.last === undefined ? 'the newest' : `last ${keep.last}`] : []),
        ...(best.has(checkpoint) ? [`best ${keep?.best}`] : []),
        ...(keep?.every !== undefined && step % keep.every === 0 ? [`every ${keep.every}`] : []),
      ];
      return why.length > 0
        ? { checkpoint, keep: true, why: why.join('; ') }
        : { checkpoint, keep: false, why: `not in ${rules.join(', ')}` };
    });
}

/** The best `count`, the newer of equals first. */
function bestOf(servable: readonly Checkpoint[], rule: BestRule, count: number): readonly Checkpoint[] {
  if (count === 0) return [];
  return servable
    .filter(({ details }) => details.metrics[rule.metric] !== undefined)
    .sort((a, b) => (beats(rule, a, b) ? -1 : 1))
    .slice(0, count);
}

const isLeased = (checkpoint: Checkpoint, { leased }: Facts): boolean => {
  const weights = weightsOf(checkpoint);
  return weights !== undefined && leased(weights.id);
};

const sayRules = ({ last, best, every }: KeepRule): readonly string[] => [
  ...(last === undefined ? [] : [`last ${last}`]),
  ...(best === undefined ? [] : [`best ${best}`]),
  ...(every === undefined ? [] : [`every ${every}`]),
];
