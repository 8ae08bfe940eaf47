// The catalog as one caller may see it: what a key is not for looks the same whether or not it is there.
import type { Checkpoint } from '../domain.ts';
import type { Catalog } from '../registry/catalog.ts';
import { parseName } from '../registry/name.ts';
import { type Resolution, refuse } from '../registry/resolution.ts';
import { type Caller, notYours } from './caller.ts';

/** As `catalog.resolve`; refused with `forbidden` where the caller's key is for other models. */
export function resolveFor(caller: Caller, catalog: Catalog, name: string): Resolution {
  const answer = catalog.resolve(name);
  if (!caller.isLimited) return answer;
  // A deployment is a name of its own: who may ask for it needs no right to what it leads to.
  if (catalog.deployment(name)) {
    if (!caller.mayTouch(name)) return refuse('forbidden', notYours(name).message);
    if (answer.kind !== 'refused' || answer.code !== 'model_not_found') return answer;
    // The words for its target, which tell what else there is, are for those to whom that belongs.
    const message = `The deployment "${name}" leads to nothing that is there. Whoever made it can see why: "stepgate deploy ${name}".`;
    return refuse('model_not_found', message);
  }
  const model = answer.kind === 'refused' ? parseName(name).model : modelOf(answer);
  if (!caller.mayTouch(model)) return refuse('forbidden', notYours(name).message);
  if (answer.kind !== 'refused' || catalog.has(model)) return answer;
  // The catalog's own words tell the names that are near, and those may be others'.
  if (answer.code !== 'model_not_found') return answer;
  return refuse(
    'model_not_found',
    `The model "${name}" does not exist. GET /v1/models lists what this key may ask for.`,
  );
}

/** Whether it is among what the caller's key is for. */
export const isFor = (caller: Caller, one: Checkpoint | { readonly name: string }): boolean =>
  caller.mayTouch('model' in one ? one.model : one.name);

const modelOf = (answer: Exclude<Resolution, { kind: 'refused' }>): string =>
  answer.kind === 'base' ? answer.base.name : answer.checkpoint.model;

/** @throws StepgateError forbidden where the name is of a model that the caller's key is not for */
export function checkName(caller: Caller, catalog: Catalog, name: string): void {
  if (!caller.isLimited) return;
  const model = catalog.find(name)?.model ?? parseName(name).model;
  if (!caller.mayTouch(model)) throw notYours(name);
}
