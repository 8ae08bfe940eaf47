// What exists, in memory: bases, models, the current revision of every checkpoint, and where `latest` points.
// Pure: no IO, no clock; the registry feeds it. It answers what a name means, never which engine serves it.
// The hot path is one Map.get: every registered name and every base has its answer ready.
import type { BaseModel, Checkpoint, CheckpointId, CheckpointName, ModelName } from '../domain.ts';
import { Lineage } from './lineage.ts';
import { type ParsedName, parseName, printName } from './name.ts';
import { type ModelSettings, type Refusal, type Resolution, refuse } from './resolution.ts';
import { nearNames, quote, refusalOf } from './words.ts';

export type { ModelSettings, Refusal, Resolution } from './resolution.ts';

export class Catalog {
  /** Answers by exact name: bases and the current revision of each checkpoint. */
  readonly #answers = new Map<string, Resolution>();
  readonly #bases = new Map<string, BaseModel>();
  readonly #checkpoints = new Map<string, Checkpoint>();
  readonly #lineages = new Map<string, Lineage>();
  /** Every revision's name: a pointer to a replaced revision follows its name. */
  readonly #names = new Map<CheckpointId, CheckpointName>();

  /** What `text` means. Exact names first, then a step, then latest. Never another step, nor a base, in place of what was asked. */
  resolve(text: string): Resolution {
    return this.#answers.get(text) ?? this.#resolveParsed(text, parseName(text));
  }

  /** The current revision under this name, deleted ones too; `my-model@0005` finds `my-model@5`. */
  find(text: string): Checkpoint | undefined {
    return this.#checkpoints.get(text) ?? this.#checkpoints.get(printName(parseName(text)));
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

  /** Every checkpoint of the model in its current revision, ascending by step; deleted and unservable ones too. */
  checkpoints(model: string): readonly Checkpoint[] {
    return this.#lineages.get(model)?.checkpoints() ?? [];
  }

  /** What callers can ask for: by model's name, then ascending by step. */
  servable(): readonly Checkpoint[] {
    return this.models().flatMap((model) =>
      this.checkpoints(model).filter((checkpoint) => checkpoint.state.kind === 'servable'),
    );
  }

  settings(model: string): ModelSettings | undefined {
    return this.#lineages.get(model)?.settings;
  }

  /** Where the bare name and `@latest` lead now, whatever the policy for bare names. */
  latest(model: string): Checkpoint | undefined {
    return this.#lineages.get(model)?.latest();
  }

  /** Replaces the set of bases that engines serve. */
  setBases(bases: readonly BaseModel[]): void {
    const gone = [...this.#bases.keys()];
    this.#bases.clear();
    for (const base of bases) this.#bases.set(base.name, base);
    for (const name of [...gone, ...this.#bases.keys()]) this.#answer(name);
  }

  /** Adds a revision, or a new state of one, in place of what had its name. */
  put(checkpoint: Checkpoint): void {
    this.#checkpoints.set(checkpoint.name, checkpoint);
    this.#names.set(checkpoint.id, checkpoint.name);
    this.#lineage(checkpoint.model).put(checkpoint);
    this.#answer(checkpoint.name);
  }

  /** Returns false where no revision has this id. */
  setLatest(model: ModelName, id: CheckpointId): boolean {
    const checkpoint = this.#checkpoints.get(this.#names.get(id) ?? '');
    if (checkpoint?.model !== model || checkpoint.step === undefined) return false;
    this.#lineage(model).promoted = checkpoint.step;
    return true;
  }

  setModel(model: ModelName, settings: ModelSettings): void {
    this.#lineage(model).settings = settings;
  }

  #lineage(model: ModelName): Lineage {
    const known = this.#lineages.get(model);
    if (known) return known;
    const fresh = new Lineage(model);
    this.#lineages.set(model, fresh);
    return fresh;
  }

  #answer(name: string): void {
    const base = this.#bases.get(name);
    const checkpoint = this.#checkpoints.get(name);
    const live = checkpoint && checkpoint.state.kind !== 'deleted';
    if (base && live)
      this.#answers.set(
        name,
        refuse(
          'conflict',
          `${quote(name)} is both a base model and a registered checkpoint. Remove the checkpoint, or serve the base under another name.`,
        ),
      );
    else if (base) this.#answers.set(name, { kind: 'base', base });
    else if (checkpoint) this.#answers.set(name, refusalOf(checkpoint) ?? { kind: 'checkpoint', checkpoint });
    else this.#answers.delete(name);
  }

  #resolveParsed(text: string, parsed: ParsedName): Resolution {
    if (parsed.kind === 'step') {
      const known = this.#answers.get(printName(parsed));
      if (known) return known;
    }
    const lineage = this.#lineages.get(parsed.model);
    if (!lineage) return this.#unknown(text);
    switch (parsed.kind) {
      case 'step':
        return refuse('model_not_found', lineage.withoutStep(parsed.step));
      case 'alias':
        return refuse(
          'model_not_found',
          `${quote(parsed.model)} has no alias ${quote(parsed.alias)}. ${lineage.summary()}`,
        );
      case 'bare':
      case 'latest':
        return lineage.resolveLatest();
    }
  }

  #unknown(text: string): Refusal {
    const known = [...this.#bases.keys(), ...this.models()];
    const near = nearNames(text, known);
    const list =
      near.length === 0
        ? 'No model is known yet'
        : `Known: ${near.join(', ')}${known.length > near.length ? `, ... (${known.length} in all)` : ''}`;
    return refuse(
      'model_not_found',
      `The model ${quote(text)} does not exist. ${list}. GET /v1/models lists what can be asked for.`,
    );
  }
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
