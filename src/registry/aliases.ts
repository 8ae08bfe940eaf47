// Names that people move: `my-model@champion`. Set and removed with compare-and-set, each move written down with who and when.
// Where a name leads is the catalog's to say.
import { as, type Checkpoint, type ModelName } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { Catalog } from './catalog.ts';
import type { Ledger } from './ledger.ts';
import { checkAlias } from './name.ts';
import type { AliasMove } from './options.ts';
import type { Alias, Change } from './store.ts';
import { quote, refusalOf } from './words.ts';

export interface AliasParts {
  readonly catalog: Catalog;
  readonly ledger: Ledger;
  readonly nowMs: () => number;
}

/** Idempotent: what leads there already is left alone. Errors: invalid_request, model_not_found, checkpoint_deleted,
 *  checkpoint_not_servable, conflict (it points elsewhere than expected, or the name is taken), storage_full. */
export function moveAlias({ catalog, ledger, nowMs }: AliasParts, move: AliasMove): void {
  const { alias, to, who } = move;
  const model = as<ModelName>(move.model);
  const problem = checkAlias(alias);
  if (problem !== undefined) throw new StepgateError('invalid_request', problem, { param: 'alias' });
  const target = to === undefined ? undefined : targetOf(catalog, model, to);
  const current = catalog.alias(model, alias);
  checkExpected(current, move);
  if (target === undefined && current === undefined) {
    throw new StepgateError('model_not_found', `${quote(model)} has no alias ${quote(alias)}.`, { param: 'alias' });
  }
  if (current?.step === to) return;
  if (catalog.hasExact(`${model}@${alias}`)) {
    const message = `${quote(`${model}@${alias}`)} is the exact name of a checkpoint or a base, which would hide the alias. Choose another.`;
    throw new StepgateError('conflict', message, { param: 'alias' });
  }
  const atMs = nowMs();
  const fresh: Alias | undefined = to === undefined ? undefined : { model, alias, step: to, movedAtMs: atMs, by: who };
  const moved: Change = { kind: 'moved', move: { model, alias, from: current?.step, to, atMs, by: who } };
  ledger.write({
    model,
    who,
    apply: () => {
      place(catalog, { model, alias, row: fresh });
      return {
        value: undefined,
        changes: [fresh ? { kind: 'aliased', alias: fresh } : { kind: 'unaliased', model, alias }, moved],
        news: [{ kind: 'moved', model, alias, checkpoint: target, by: who }],
        undo: () => place(catalog, { model, alias, row: current }),
      };
    },
  });
}

function place(
  catalog: Catalog,
  { model, alias, row }: { model: string; alias: string; row: Alias | undefined },
): void {
  if (row === undefined) catalog.dropAlias(model, alias);
  else catalog.setAlias(row);
}

function targetOf(catalog: Catalog, model: ModelName, step: number): Checkpoint {
  const checkpoint = catalog.find(`${model}@${step}`);
  if (checkpoint?.step === undefined) {
    const answer = catalog.resolve(`${model}@${step}`);
    const message = answer.kind === 'refused' ? answer.message : `${quote(model)} has no step ${step}.`;
    throw new StepgateError('model_not_found', message, { param: 'step' });
  }
  const refusal = refusalOf(checkpoint);
  if (refusal) throw new StepgateError(refusal.code, refusal.message, { param: 'step' });
  return checkpoint;
}

function checkExpected(current: Alias | undefined, { model, alias, expect }: AliasMove): void {
  if (expect === undefined || expect === (current?.step ?? null)) return;
  const name = quote(`${model}@${alias}`);
  const now = current ? `points to step ${current.step} (moved by ${current.by})` : 'is not set';
  const wanted = expect === null ? 'not to be set' : `step ${expect}`;
  throw new StepgateError('conflict', `${name} ${now}; ${wanted} was expected. Look again, then decide.`, {
    param: 'expect',
  });
}
