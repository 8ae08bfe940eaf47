// One model: its checkpoints in the order of their steps, its policies, and where its `latest`, its `best` and its aliases lead.
// Pure, owned by the catalog. No answer looks at every step: a model may have a hundred thousand.
import type { BestRule, Checkpoint, CheckpointId, ModelName } from '../domain.ts';
import { BEST_DEFAULT, beats } from './best.ts';
import type { Side } from './name.ts';
import { type ModelSettings, type Resolution, refuse } from './resolution.ts';
import { type Stepped, Steps } from './steps.ts';
import type { Alias } from './store.ts';
import { NEAR_MAX, quote, refusalOf } from './words.ts';

export class Lineage {
  readonly model: ModelName;
  /** The step that `latest` was moved to when a backend was warm; undefined until then. */
  promoted: number | undefined;
  readonly aliases = new Map<string, Alias>();
  #settings = UNCONFIGURED;
  /** Current revisions only. */
  readonly #steps = new Steps();
  /** Those of them that can be asked for. */
  readonly #servable = new Steps();
  #best: Stepped | undefined;
  /** The checkpoint that is registered under the model's own name, without a step. */
  #exact: Checkpoint | undefined;

  constructor(model: ModelName) {
    this.model = model;
  }

  get settings(): ModelSettings {
    return this.#settings;
  }

  set settings(settings: ModelSettings | undefined) {
    this.#settings = settings ?? UNCONFIGURED;
    this.#best = this.#findBest();
  }

  put(checkpoint: Checkpoint): void {
    if (!hasStep(checkpoint)) {
      this.#exact = checkpoint;
      return;
    }
    this.#steps.put(checkpoint);
    if (checkpoint.state.kind === 'servable') this.#servable.put(checkpoint);
    else this.#servable.delete(checkpoint.step);
    if (checkpoint.state.kind === 'servable' && beats(this.#rule, checkpoint, this.#best)) this.#best = checkpoint;
    else if (this.#best?.step === checkpoint.step) this.#best = this.#findBest();
  }

  /** As if it had never been put. */
  forget(checkpoint: Checkpoint): void {
    if (checkpoint.step === undefined) {
      this.#exact = undefined;
      return;
    }
    this.#steps.delete(checkpoint.step);
    this.#servable.delete(checkpoint.step);
    if (this.#best?.step === checkpoint.step) this.#best = this.#findBest();
  }

  /** Nobody has configured it, and nothing is registered. */
  get isBlank(): boolean {
    return this.#settings === UNCONFIGURED && this.#steps.length === 0 && !this.#exact && this.aliases.size === 0;
  }

  has(step: number | undefined): boolean {
    return step !== undefined && this.#steps.get(step) !== undefined;
  }

  /** The step whose current revision has this id; it looks at the newest first. */
  stepOf(id: CheckpointId): number | undefined {
    return this.#steps.all().findLast((row) => row.id === id)?.step;
  }

  checkpoints(): readonly Checkpoint[] {
    return this.#exact ? [this.#exact, ...this.#steps.all()] : [...this.#steps.all()];
  }

  servable(): readonly Checkpoint[] {
    const exact = this.#exact?.state.kind === 'servable' ? [this.#exact] : [];
    return [...exact, ...this.#servable.all()];
  }

  /** The servable step with the greatest number. */
  get newest(): Checkpoint | undefined {
    return this.#servable.last;
  }

  /** `published`: the newest servable step. Else the promoted one, and the newest where none was, or it is servable no more. */
  latest(): Checkpoint | undefined {
    const promoted =
      this.#settings.latest === 'published' || this.promoted === undefined
        ? undefined
        : this.#servable.get(this.promoted);
    return promoted ?? this.newest;
  }

  /** The servable step with the best metric, the newer of equals; undefined where none has the metric. */
  best(): Checkpoint | undefined {
    return this.#best;
  }

  /** The answer for the bare name and for `@latest`. */
  resolveLatest(): Resolution {
    if (this.#settings.latest === 'error') {
      return refuse(
        'name_ambiguous',
        `${quote(this.model)} alone does not say which step (its \`latest\` policy is "error"). ${this.summary()}`,
      );
    }
    const checkpoint = this.latest();
    if (checkpoint) return { kind: 'checkpoint', checkpoint };
    const unservable = this.#steps.all().findLast((step) => step.state.kind === 'unservable');
    return (unservable && refusalOf(unservable)) ?? refuse('model_not_found', this.summary());
  }

  resolveBest(): Resolution {
    if (this.#best) return { kind: 'checkpoint', checkpoint: this.#best };
    const { metric } = this.#rule;
    return refuse('model_not_found', `No step of ${quote(this.model)} has the metric "${metric}". ${this.summary()}`);
  }

  resolveNearest(side: Side, step: number): Resolution {
    const past = step + 1;
    const index = {
      '<': () => this.#servable.from(step) - 1,
      '<=': () => this.#servable.from(past) - 1,
      '>': () => this.#servable.from(past),
      '>=': () => this.#servable.from(step),
    }[side]();
    const checkpoint = this.#servable.at(index);
    if (checkpoint) return { kind: 'checkpoint', checkpoint };
    return refuse('model_not_found', `${quote(this.model)} has no servable step ${side} ${step}. ${this.summary()}`);
  }

  /** A sentence for a step that is not known: the nearest servable ones and the range. */
  withoutStep(step: number): string {
    if (this.#servable.length === 0) return `${quote(this.model)} has no step ${step}. ${this.summary()}`;
    const near = this.#servable.around(step, NEAR_MAX).map((known) => known.name);
    return `${quote(this.model)} has no step ${step}; nearest: ${near.join(', ')} (${this.#range()}).`;
  }

  /** One sentence on what can be asked of this model. */
  summary(): string {
    if (this.newest) return `Ask for one step, such as "${this.newest.name}" (${this.#range()}).`;
    if (this.#exact && this.#exact.state.kind !== 'deleted')
      return `"${this.model}" is registered under that exact name and has no steps.`;
    if (this.#steps.length > 0) return `No step of "${this.model}" can be served: each was deleted or is not servable.`;
    const { watch } = this.#settings;
    const where = watch === undefined ? 'Register one.' : `It looks in ${watch}.`;
    return `No complete checkpoint of "${this.model}" was found yet. ${where}`;
  }

  #range(): string {
    const { first, last, length } = this.#servable;
    return length === 1 ? `step ${first?.step} only` : `steps ${first?.step}..${last?.step}, ${length} in all`;
  }

  get #rule(): BestRule {
    return this.#settings.best ?? BEST_DEFAULT;
  }

  #findBest(): Stepped | undefined {
    const rule = this.#rule;
    return this.#servable.reduce((candidate, than) => beats(rule, candidate, than));
  }
}

const UNCONFIGURED: ModelSettings = { latest: 'ready' };
const hasStep = (checkpoint: Checkpoint): checkpoint is Stepped => checkpoint.step !== undefined;
