// Metrics that people and evaluations set on a checkpoint, beside those that the trainer wrote.
import type { Checkpoint } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { Catalog } from './catalog.ts';
import type { Ledger } from './ledger.ts';
import { quote } from './words.ts';

const METRICS_MAX = 500;
const KEY = /^[A-Za-z0-9_][\w./:@ %+()-]{0,99}$/;

export type MetricChanges = Readonly<Record<string, number | null>>;

/** Errors: invalid_request, storage_full. */
export function patch(
  { catalog, ledger }: { readonly catalog: Catalog; readonly ledger: Ledger },
  before: Checkpoint,
  { metrics, who }: { readonly metrics: MetricChanges; readonly who: string },
): Checkpoint {
  const checkpoint = patched(before, metrics);
  const { id, details } = checkpoint;
  return ledger.write({
    model: before.model,
    who,
    apply: () => {
      catalog.put(checkpoint);
      return {
        value: checkpoint,
        changes: [{ kind: 'detailed', id, details }],
        news: [{ kind: 'patched', checkpoint }],
        undo: () => catalog.put(before),
      };
    },
  });
}

/** The checkpoint with these metrics set, and those that are null removed. Errors: invalid_request. */
function patched(checkpoint: Checkpoint, changes: MetricChanges): Checkpoint {
  const metrics: Record<string, number> = { ...checkpoint.details.metrics };
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) delete metrics[key];
    else if (!KEY.test(key) || key === '__proto__')
      throw refused(`${quote(key)} is no metric's name: a letter or digit first, at most 100 plain characters.`);
    else if (Number.isFinite(value)) metrics[key] = value;
    else throw refused(`The metric ${quote(key)} must be a finite number, or null to remove it.`);
  }
  if (Object.keys(metrics).length > METRICS_MAX)
    throw refused(`A checkpoint has at most ${METRICS_MAX} metrics. Remove some: set them to null.`);
  return { ...checkpoint, details: { ...checkpoint.details, metrics } };
}

const refused = (message: string): StepgateError => new StepgateError('invalid_request', message, { param: 'metrics' });
