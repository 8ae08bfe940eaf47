// Which checkpoints deployments need: what retention spares, and what nobody deletes by hand. Pure; the catalog knows the deployments.
import type { Checkpoint } from '../domain.ts';
import type { Catalog } from './catalog.ts';
import { parseVersion, printName } from './name.ts';

/** The steps of this model that deployments lead to now, also by names that move. */
export function deployedSteps(
  catalog: Catalog,
  model: string,
): readonly { readonly name: string; readonly step: number }[] {
  return catalog.deployments().flatMap(({ deployment, target }) => {
    const answer = catalog.resolveModel(target);
    if (answer.kind !== 'checkpoint' || answer.checkpoint.model !== model) return [];
    const { step } = answer.checkpoint;
    return step === undefined ? [] : { name: deployment, step };
  });
}

/** The first deployment whose target is this very checkpoint, not a name that moves. */
export const deployedAs = (catalog: Catalog, { id }: Checkpoint): string | undefined =>
  catalog.deployments().find(({ target }) => findTarget(catalog, target)?.id === id)?.deployment;

/** The one checkpoint that this target always means; undefined: it moves, or is a base. */
function findTarget(catalog: Catalog, target: string): Checkpoint | undefined {
  const version = catalog.has(target) ? undefined : parseVersion(target);
  return catalog.find(target) ?? (version && catalog.find(printName({ kind: 'step', ...version })));
}
