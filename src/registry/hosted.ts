// Checkpoints that a service has under their names, and of which no files are here: a row alone. Who serves them is not asked here.
import { randomUUID } from 'node:crypto';
import { type AdapterId, as, type BaseName, type Checkpoint, type CheckpointId, NO_DETAILS } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { Catalog } from './catalog.ts';
import type { Ledger } from './ledger.ts';

/** What stands in the place of the directory that files came from. */
const SOURCE = 'hosted';

/** The name that the router knows it by. No name may hold a comma, so that it is no other weights' id. */
export const hostedIdOf = (name: string): AdapterId => as<AdapterId>(`${name}, hosted`);

interface Parts {
  readonly catalog: Catalog;
  readonly ledger: Ledger;
  readonly nowMs: () => number;
}

type Asked = Pick<Checkpoint, 'name' | 'model' | 'step'> & { readonly base: BaseName | undefined };

/** Idempotent. Errors: conflict (its files are here, or a base has the name), storage_full. */
export function addHosted({ catalog, ledger, nowMs }: Parts, { name, model, step, base }: Asked): Promise<Checkpoint> {
  const apply = () => {
    if (catalog.hasBase(name))
      throw refuse(`"${name}" is a base model's name: a checkpoint of that name would hide it`);
    const current = catalog.find(name);
    if (current?.state.kind === 'servable') {
      if (current.adapter !== undefined)
        throw refuse(
          `files of "${name}" are here: services whose \`models\` name ${model} serve it already, and engines too`,
        );
      if (current.base === base) return { value: current, changes: [], news: [], undo: () => {} };
    }
    const checkpoint: Checkpoint = {
      id: as<CheckpointId>(randomUUID()),
      ...{ name, model, step, base },
      revision: (current?.revision ?? 0) + 1,
      adapter: undefined,
      hosted: hostedIdOf(name),
      source: SOURCE,
      createdAtMs: nowMs(),
      state: { kind: 'servable' },
      details: NO_DETAILS,
      warnings: [],
    };
    catalog.put(checkpoint);
    return {
      value: checkpoint,
      changes: [{ kind: 'added', checkpoint, sighting: { name, source: SOURCE, signature: SOURCE } } as const],
      news: [{ kind: 'registered', checkpoint, replaced: undefined } as const],
      undo: () => (current ? catalog.put(current) : catalog.forget(checkpoint)),
    };
  };
  return ledger.writeSoon({ model, who: 'registration', apply });
}

const refuse = (message: string): StepgateError => new StepgateError('conflict', message, { param: 'name' });
