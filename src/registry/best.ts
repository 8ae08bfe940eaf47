// Which of two checkpoints is the better one. Pure.
import type { BestRule, Checkpoint } from '../domain.ts';

export const BEST_DEFAULT: BestRule = { metric: 'eval_loss', direction: 'min' };

/** Whether `candidate` has the metric, and `than` has none, a worse one, or the same one at an earlier step. */
export function beats(rule: BestRule, candidate: Checkpoint, than: Checkpoint | undefined): boolean {
  const own = candidate.details.metrics[rule.metric];
  if (own === undefined) return false;
  const other = than?.details.metrics[rule.metric];
  if (other === undefined) return true;
  if (own === other) return (candidate.step ?? -1) >= (than?.step ?? -1);
  return rule.direction === 'min' ? own < other : own > other;
}
