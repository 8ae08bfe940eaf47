// What exists, in memory: bases, models, the current revision of every checkpoint, and where the names that move lead.
// Pure: no IO, no clock; the registry feeds it. It answers what a name means, never which engine serves it.
// The hot path is one Map.get: every base and every name that can be asked for has its answer ready.
import type { BaseModel, Checkpoint, CheckpointId, CheckpointName, ModelName } from '../domain.ts';
import { Lineage } from './lineage.ts';
import { type ParsedName, parseName, parseVersion, printName } from './name.ts';
import { type ModelSettings, type Refusal, type Resolution, refuse } from './resolution.ts';
import type { Alias, Build } from './store.ts';
import { nearNames, quote, refusalOf } from './words.ts';

export type { ModelSettings, Refusal, Resolution } from './resolution.ts';

export class Catalog {
  /** Answers by exact name: bases, and the current revision of each servable checkpoint. */
  readonly #answers = new Map<string, Resolution>();
  readonly #bases = new Map<string, BaseModel>();
  /** By exact name, the current revision of what is no answer: deleted, not servable, or in conflict with a base. */
  readonly #others = new Map<string, Checkpoint>();
  readonly #lineages = new Map<string, Lineage>();
  /** The build that counts, by the deployment's name. */
  readonly #deployments = new Map<string, Build>();
  /** Names of replaced revisions: a pointer to one follows its name. */
  readonly #replaced = new Map<CheckpointId, CheckpointName>();

  /** What `text` means. Exact names first, then the grammar of name.ts. Never another step, nor a base, in place of what was asked. */
  resolve(text: string): Resolution {
    return this.#answers.get(text) ?? this.#deployed(text) ?? this.#resolveOther(text);
  }

  /** As `resolve`, of bases and checkpoints alone: a deployment never leads to another one. */
  resolveModel(text: string): Resolution {
    return this.#answers.get(text) ?? this.#resolveOther(text);
  }

  /** The current revision under this name, deleted ones too; `my-model@0005` finds `my-model@5`. */
  find(text: string): Checkpoint | undefined {
    return this.#current(text) ?? this.#current(printName(parseName(text)));
  }

  /** Whether a base or a checkpoint, also a deleted one, has exactly this name. */
  hasExact(text: string): boolean {
    return this.#answers.has(text) || this.#others.has(text);
  }

  /** The current revision of everything that was ever registered. */
  *all(): Iterable<Checkpoint> {
    for (const lineage of this.#lineages.values()) yield* lineage.checkpoints();
  }

  hasBase(text: string): boolean {
    return this.#bases.has(text);
  }

  get bases(): readonly BaseModel[] {
    return [...this.#bases.values()];
  }

  /** Every known model, configured or registered, by name. */
  models(): readonly ModelName[] {
    return [...this.#lineages.values()].map((lineage) => lineage.model).sort(byText);
  }

  has(model: string): model is ModelName {
    return this.#lineages.has(model);
  }

  /** Every checkpoint of the model in its current revision, ascending by step; deleted and unservable ones too. */
  checkpoints(model: string): readonly Checkpoint[] {
    return this.#lineages.get(model)?.checkpoints() ?? [];
  }

  /** What callers can ask for: by model's name, then ascending by step. */
  servable(): readonly Checkpoint[] {
    return this.models().flatMap((model) => this.#lineages.get(model)?.servable() ?? []);
  }

  settings(model: string): ModelSettings | undefined {
    return this.#lineages.get(model)?.settings;
  }

  /** Where the bare name and `@latest` lead now, whatever the policy for bare names. */
  latest(model: string): Checkpoint | undefined {
    return this.#lineages.get(model)?.latest();
  }

  /** Where `@best` leads now. */
  best(model: string): Checkpoint | undefined {
    return this.#lineages.get(model)?.best();
  }

  /** The servable step with the greatest number, whatever `latest` says. */
  newest(model: string): Checkpoint | undefined {
    return this.#lineages.get(model)?.newest;
  }

  /** Those set by hand, by name. */
  aliases(model: string): readonly Alias[] {
    const aliases = this.#lineages.get(model)?.aliases.values() ?? [];
    return [...aliases].sort((a, b) => byText(a.alias, b.alias));
  }

  alias(model: string, alias: string): Alias | undefined {
    return this.#lineages.get(model)?.aliases.get(alias);
  }

  /** By name. */
  deployments(): readonly Build[] {
    return [...this.#deployments.values()].sort((a, b) => byText(a.deployment, b.deployment));
  }

  deployment(name: string): Build | undefined {
    return this.#deployments.get(name);
  }

  /** Undefined: there is no deployment of this name any more. */
  setDeployment(name: string, build: Build | undefined): void {
    const checkpoint = this.#current(name);
    if (build === undefined) this.#deployments.delete(name);
    else this.#deployments.set(name, build);
    this.#place(name, checkpoint);
  }

  /** Replaces the set of bases that engines serve. */
  setBases(bases: readonly BaseModel[]): void {
    const changed = new Set([...this.#bases.keys(), ...bases.map(({ name }) => name)]);
    const checkpoints = [...changed].map((name) => [name, this.#current(name)] as const);
    this.#bases.clear();
    for (const base of bases) this.#bases.set(base.name, base);
    for (const [name, checkpoint] of checkpoints) this.#place(name, checkpoint);
  }

  /** Adds a revision, or a new state of one, in place of what had its name. */
  put(checkpoint: Checkpoint): void {
    const before = this.#current(checkpoint.name);
    if (before && before.id !== checkpoint.id) this.#replaced.set(before.id, before.name);
    this.#lineage(checkpoint.model).put(checkpoint);
    this.#place(checkpoint.name, checkpoint);
  }

  /** Takes away what nobody has heard of yet: as if it had never been put. */
  forget(checkpoint: Checkpoint): void {
    const lineage = this.#lineages.get(checkpoint.model);
    lineage?.forget(checkpoint);
    if (lineage?.isBlank) this.#lineages.delete(checkpoint.model);
    this.#place(checkpoint.name, undefined);
  }

  setAlias(alias: Alias): void {
    this.#lineage(alias.model).aliases.set(alias.alias, alias);
  }

  dropAlias(model: string, alias: string): void {
    this.#lineages.get(model)?.aliases.delete(alias);
  }

  /** Returns false where no revision has this id. */
  setLatest(model: ModelName, id: CheckpointId): boolean {
    const lineage = this.#lineages.get(model);
    const step = lineage?.stepOf(id) ?? this.#current(this.#replaced.get(id) ?? '')?.step;
    if (!lineage?.has(step)) return false;
    lineage.promoted = step;
    return true;
  }

  /** Undefined: it is in the config no more; it is known for as long as it has checkpoints. */
  setModel(model: ModelName, settings: ModelSettings | undefined): void {
    const lineage = this.#lineage(model);
    lineage.settings = settings;
    if (lineage.isBlank) this.#lineages.delete(model);
  }

  #lineage(model: ModelName): Lineage {
    const known = this.#lineages.get(model);
    if (known) return known;
    const fresh = new Lineage(model);
    this.#lineages.set(model, fresh);
    return fresh;
  }

  #current(name: string): Checkpoint | undefined {
    const answer = this.#answers.get(name);
    return answer?.kind === 'checkpoint' ? answer.checkpoint : this.#others.get(name);
  }

  /** Puts what has this exact name where `resolve` looks for it. */
  #place(name: string, checkpoint: Checkpoint | undefined): void {
    const base = this.#bases.get(name);
    const answer = this.#answerFor(name, { base, checkpoint });
    if (answer) this.#answers.set(name, answer);
    else this.#answers.delete(name);
    if (checkpoint && answer?.kind !== 'checkpoint') this.#others.set(name, checkpoint);
    else this.#others.delete(name);
  }

  #answerFor(
    name: string,
    { base, checkpoint }: { base: BaseModel | undefined; checkpoint: Checkpoint | undefined },
  ): Resolution | undefined {
    const isThere = checkpoint && checkpoint.state.kind !== 'deleted';
    if (this.#deployments.has(name) && (base || isThere)) return isAlso(name, base ? 'base' : 'checkpoint');
    if (base && isThere) {
      const message = `${quote(name)} is both a base model and a registered checkpoint. Remove the checkpoint, or serve the base under another name.`;
      return refuse('conflict', message);
    }
    if (base) return { kind: 'base', base };
    return checkpoint?.state.kind === 'servable' ? { kind: 'checkpoint', checkpoint } : undefined;
  }

  /** What the target of a deployment means now. */
  #deployed(name: string): Resolution | undefined {
    const build = this.#deployments.get(name);
    if (build === undefined) return undefined;
    // The config may name a model so later.
    if (this.#lineages.has(name)) return isAlso(name, 'model');
    const answer = this.resolveModel(build.target);
    if (answer.kind !== 'refused') return { ...answer, build };
    return refuse(answer.code, `The deployment ${quote(name)} leads to ${quote(build.target)}. ${answer.message}`);
  }

  #refusal(name: string): Refusal | undefined {
    const checkpoint = this.#others.get(name);
    return checkpoint && refusalOf(checkpoint);
  }

  #resolveOther(text: string): Resolution {
    return this.#refusal(text) ?? this.#resolveParsed(text, parseName(text));
  }

  #resolveParsed(text: string, parsed: ParsedName): Resolution {
    if (parsed.kind === 'step') {
      const name = printName(parsed);
      const known = this.#answers.get(name) ?? this.#refusal(name);
      if (known) return known;
    }
    const lineage = this.#lineages.get(parsed.model);
    if (!lineage) return this.#resolveVersion(text) ?? this.#unknown(text);
    switch (parsed.kind) {
      case 'step':
        return refuse('model_not_found', lineage.withoutStep(parsed.step));
      case 'alias':
        return this.#resolveAlias(lineage, parsed.alias);
      case 'best':
        return lineage.resolveBest();
      case 'nearest':
        return lineage.resolveNearest(parsed.side, parsed.step);
      case 'bare':
      case 'latest':
        return lineage.resolveLatest();
    }
  }

  /** `run-v5`, where nothing is called exactly so: step 5 of `run`, when there is (or was) one. */
  #resolveVersion(text: string): Resolution | undefined {
    const version = parseVersion(text);
    const name = version && printName({ kind: 'step', ...version });
    return name !== undefined && this.hasExact(name) ? this.resolve(name) : undefined;
  }

  #resolveAlias(lineage: Lineage, alias: string): Resolution {
    const known = lineage.aliases.get(alias);
    if (known) return this.resolve(`${lineage.model}@${known.step}`);
    return refuse('model_not_found', `${quote(lineage.model)} has no alias ${quote(alias)}. ${lineage.summary()}`);
  }

  #unknown(text: string): Refusal {
    const known = [...this.#bases.keys(), ...this.models()];
    const near = nearNames(text, known);
    const list =
      near.length === 0
        ? 'No model is known yet'
        : `Known: ${near.join(', ')}${known.length > near.length ? `, ... (${known.length} in all)` : ''}`;
    const bases = this.#bases.size === 0 ? ' No engine has come up yet, so no base is known.' : '';
    return refuse(
      'model_not_found',
      `The model ${quote(text)} does not exist. ${list}.${bases} GET /v1/models lists what can be asked for.`,
    );
  }
}

const isAlso = (name: string, what: 'base' | 'checkpoint' | 'model'): Refusal =>
  refuse(
    'conflict',
    `${quote(name)} is both a deployment and a ${what}. Give one of them another name ("stepgate deploy ${name} --remove" takes the deployment away).`,
  );

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
