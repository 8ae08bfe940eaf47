// The deployments that there are: made, changed, rolled back and removed, each change a build of its own. Written down before anybody hears of
// it, and in the catalog from the next request on. What a build makes of a request is translation.ts's; it knows no request and no listener.
import { StepgateError } from '../errors.ts';
import type { Catalog } from '../registry/catalog.ts';
import { checkModelName, parseVersion } from '../registry/name.ts';
import type { Resolution } from '../registry/resolution.ts';
import type { Build, DeploymentChange, DeploymentRows } from '../registry/store.ts';
import { nearNames, quote } from '../registry/words.ts';
import { checkGeneration, type Generation, isGenerationKey } from './generation.ts';
import { parseTemplate } from './template.ts';

/** What people say of a deployment; what is left out is as in the build before, or as in the first: plain, without defaults. */
export interface Wish {
  readonly target?: string | undefined;
  readonly generation?: Generation | undefined;
  /** null: the prompt goes as it is. */
  readonly template?: string | null | undefined;
  readonly chat?: boolean | undefined;
}

export interface DeploymentsParts {
  readonly rows: DeploymentRows;
  readonly catalog: Catalog;
  /** Called after each change; undefined: it was removed. */
  readonly onChange: (name: string, build: Build | undefined, by: string) => void;
  /** Unix time, ms. */
  readonly nowMs: () => number;
}

const DEPLOYMENTS_MAX = 1_000;
/** Of one deployment, the newest. */
const BUILDS_MAX = 100;
/** A part of a path, and of patterns of keys. */
const NAME = /^[A-Za-z0-9][\w.-]{0,99}$/;

export class Deployments {
  readonly #parts: DeploymentsParts;

  constructor(parts: DeploymentsParts) {
    this.#parts = parts;
    for (const build of parts.rows.deployments()) parts.catalog.setDeployment(build.deployment, build);
  }

  /** The build that counts of each, by name. */
  all(): readonly Build[] {
    return this.#parts.catalog.deployments();
  }

  /** What its name leads to now. */
  resolve({ deployment }: Build): Resolution {
    return this.#parts.catalog.resolve(deployment);
  }

  /** The build that counts. `isShown`: which others may be told of instead. @throws StepgateError deployment_not_found */
  get(name: string, isShown: (other: string) => boolean = () => true): Build {
    const build = this.#parts.catalog.deployment(name);
    if (build !== undefined) return build;
    const known = this.all()
      .map(({ deployment }) => deployment)
      .filter(isShown);
    const near = known.length === 0 ? 'There is none yet' : `Known: ${nearNames(name, known).join(', ')}`;
    const message = `There is no deployment ${quote(name)}. ${near}. "stepgate deploy NAME --target my-model@5" makes one.`;
    throw new StepgateError('deployment_not_found', message, { param: 'name' });
  }

  /** Newest first. @throws StepgateError deployment_not_found */
  builds(name: string): readonly Build[] {
    this.get(name);
    return this.#parts.rows.builds(name);
  }

  /** Of a name that has none yet the first build, else the next; nothing where it would be as it is. Errors: invalid_request, conflict,
   *  what a target is refused with, storage_full. */
  change(name: string, wish: Wish, by: string): Build {
    const current = this.#parts.catalog.deployment(name);
    const next = {
      target: wish.target ?? current?.target,
      generation: wish.generation ?? current?.generation ?? {},
      template: wish.template === null ? undefined : (wish.template ?? current?.template),
      chat: wish.chat ?? current?.chat ?? false,
    };
    if (current === undefined) this.#checkName(name);
    if (next.target === undefined) {
      const message = `\`target\` is missing: there is no deployment ${quote(name)} yet, so say what it is to lead to, such as "my-model@5"`;
      throw new StepgateError('invalid_request', message, { param: 'target' });
    }
    // One that is as it was led somewhere when it was given: that its engine is down now is no reason against other words.
    if (next.target !== current?.target) this.#checkTarget(next.target);
    checkGeneration(next.generation, 'generation');
    if (next.template !== undefined) checkInputs(parseTemplate(next.template).inputs);
    return this.#build(name, { ...next, target: next.target, copyOf: undefined }, by);
  }

  /** A copy of an earlier build becomes the next, so that the list of builds says what answered when. Errors:
   *  deployment_not_found (also of the build), what a target is refused with, storage_full. */
  rollback(name: string, build: number, by: string): Build {
    const current = this.get(name);
    const old = this.#parts.rows.builds(name).find((one) => one.build === build);
    if (old === undefined) {
      const message = `${quote(name)} has no build ${build} (any more); "stepgate deploy ${name}" lists its builds`;
      throw new StepgateError('deployment_not_found', message, { param: 'build' });
    }
    if (old.target !== current.target) this.#checkTarget(old.target);
    return this.#build(name, { ...old, copyOf: build }, by);
  }

  /** Errors: deployment_not_found, storage_full. */
  remove(name: string, by: string): void {
    this.get(name);
    this.#write({ kind: 'undeployed', deployment: name });
    this.#parts.catalog.setDeployment(name, undefined);
    this.#parts.onChange(name, undefined, by);
  }

  #build(name: string, next: Omit<Build, 'deployment' | 'build' | 'createdAtMs' | 'by'>, by: string): Build {
    const current = this.#parts.catalog.deployment(name);
    if (current !== undefined && sayBuild(current) === sayBuild(next)) return current;
    const build = {
      ...next,
      deployment: name,
      build: (current?.build ?? 0) + 1,
      createdAtMs: this.#parts.nowMs(),
      by,
    };
    this.#write({ kind: 'built', build, keep: BUILDS_MAX });
    this.#parts.catalog.setDeployment(name, build);
    this.#parts.onChange(name, build, by);
    return build;
  }

  #checkName(name: string): void {
    const { catalog } = this.#parts;
    const problem = NAME.test(name)
      ? checkModelName(name)
      : `${quote(name)} is no name of a deployment: letters, digits, "_", "." and "-", at most 100, a letter or a digit first.`;
    if (problem !== undefined) throw new StepgateError('invalid_request', problem, { param: 'name' });
    const version = parseVersion(name);
    if (version !== undefined && catalog.has(version.model)) {
      const message = `${quote(name)} reads as step ${version.step} of ${quote(version.model)}, as trainers write it, and would be answered by another. Choose another for the deployment.`;
      throw new StepgateError('conflict', message, { param: 'name' });
    }
    const means = catalog.resolve(name);
    if (catalog.has(name) || means.kind !== 'refused' || means.code !== 'model_not_found') {
      const message = `${quote(name)} is the name of a model, a checkpoint or a base already. Choose another for the deployment.`;
      throw new StepgateError('conflict', message, { param: 'name' });
    }
    if (catalog.deployments().length < DEPLOYMENTS_MAX) return;
    throw new StepgateError('conflict', `There are ${DEPLOYMENTS_MAX} deployments already. Remove one first.`);
  }

  #checkTarget(target: string): void {
    const { catalog } = this.#parts;
    const refuse = (code: StepgateError['code'], message: string) => {
      throw new StepgateError(code, message, { param: 'target' });
    };
    if (catalog.deployment(target))
      refuse('invalid_request', `${quote(target)} is a deployment itself: name the step, model or base`);
    const answer = catalog.resolveModel(target);
    if (answer.kind === 'refused') refuse(answer.code, answer.message);
  }

  #write(change: DeploymentChange): void {
    this.#parts.rows.commit([change]);
  }
}

/** A generation key beside the inputs of a request must not be read as one of them. */
function checkInputs(inputs: readonly string[]): void {
  const taken = inputs.find(isGenerationKey);
  if (taken === undefined) return;
  const message = `\`template\` has an input {${taken}}, which is the name of a generation parameter: choose another`;
  throw new StepgateError('invalid_request', message, { param: 'template' });
}

const sayBuild = ({ target, generation, template, chat }: Omit<Build, 'deployment' | 'build' | 'createdAtMs' | 'by'>) =>
  JSON.stringify([target, Object.entries(generation).toSorted(([a], [b]) => (a < b ? -1 : 1)), template, chat]);
