// How checkpoints go: one that somebody names, or those that the model's `keep` does not keep. What a pin, an alias or a deployment
// holds stays. Their names are answered with checkpoint_deleted from then on; the trainer's own files are never touched.
import type { Checkpoint, ModelName } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { Catalog } from './catalog.ts';
import { deployedAs } from './deployed.ts';
import type { Ledger } from './ledger.ts';
import { covers, type Pins, sayPin } from './pins.ts';

export interface DeletionParts {
  readonly catalog: Catalog;
  readonly ledger: Ledger;
  readonly pins: Pins;
  readonly nowMs: () => number;
}

/** Of a name that means one checkpoint. @throws StepgateError model_not_found, checkpoint_deleted */
export function findLive(catalog: Catalog, name: string): Checkpoint {
  const checkpoint = catalog.find(name);
  if (!checkpoint) {
    const answer = catalog.resolve(name);
    const message = catalog.deployment(name)
      ? `"${name}" is a deployment, no checkpoint: "stepgate deploy ${name} --remove" takes it away.`
      : answer.kind === 'refused'
        ? answer.message
        : `"${name}" is not the name of one checkpoint. Name the step.`;
    throw new StepgateError('model_not_found', message, { param: 'name' });
  }
  if (checkpoint.state.kind !== 'deleted') return checkpoint;
  throw new StepgateError('checkpoint_deleted', `"${checkpoint.name}" was deleted already.`, { param: 'name' });
}

/** Errors: conflict, with what to do first, where a pin, an alias or a deployment holds it. */
export function checkFree({ catalog, pins }: DeletionParts, checkpoint: Checkpoint): void {
  const { name, model, step } = checkpoint;
  const refuse = (why: string) => {
    throw new StepgateError('conflict', `"${name}" is kept: ${why}.`, { param: 'name' });
  };
  const deployment = deployedAs(catalog, checkpoint);
  if (deployment !== undefined) {
    const deploy = `stepgate deploy ${deployment}`;
    refuse(
      `the deployment "${deployment}" leads to it. Change or remove the deployment first ("${deploy} --target MODEL", or "${deploy} --remove")`,
    );
  }
  if (step === undefined) return;
  const alias = catalog.aliases(model).find((one) => one.step === step)?.alias;
  if (alias !== undefined) refuse(`"${model}@${alias}" leads to it. Move or remove the alias first`);
  const pin = pins.of(model).find((one) => covers(one, step));
  if (pin) refuse(`${sayPin(pin)}. Remove the pin first ("stepgate pin --remove ${pin.id}")`);
}

/** All of them, which are of one model, or none. Errors: storage_full. */
export function markDeleted(
  { catalog, ledger, nowMs }: DeletionParts,
  { model, checkpoints, who }: { model: ModelName; checkpoints: readonly Checkpoint[]; who: string },
): readonly Checkpoint[] {
  const atMs = nowMs();
  const deleted = checkpoints.map((one): Checkpoint => ({ ...one, state: { kind: 'deleted', atMs } }));
  return ledger.write({
    model,
    who,
    apply: () => {
      for (const one of deleted) catalog.put(one);
      return {
        value: deleted,
        changes: deleted.map(({ id }) => ({ kind: 'deleted', id, atMs })),
        news: deleted.map((checkpoint) => ({ kind: 'deleted', checkpoint })),
        undo: () => {
          for (const one of checkpoints) catalog.put(one);
        },
      };
    },
  });
}
