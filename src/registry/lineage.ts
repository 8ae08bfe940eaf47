// One model: its checkpoints in the order of their steps, its policy, and where its `latest` points. Pure, owned by the catalog.
import type { Checkpoint, ModelName } from '../domain.ts';
import { type ModelSettings, type Resolution, refuse } from './resolution.ts';
import { nearSteps, quote, refusalOf } from './words.ts';

type Stepped = Checkpoint & { readonly step: number };

export class Lineage {
  readonly model: ModelName;
  settings: ModelSettings = { latest: 'ready' };
  /** The step that `latest` was moved to when a backend was warm; undefined until then. */
  promoted: number | undefined;
  /** Ascending by step, current revisions only. */
  readonly #steps: Stepped[] = [];
  /** The newest servable one of `#steps`. */
  #newest: Checkpoint | undefined;
  /** The checkpoint that is registered under the model's own name, without a step. */
  #exact: Checkpoint | undefined;

  constructor(model: ModelName) {
    this.model = model;
  }

  put(checkpoint: Checkpoint): void {
    if (!hasStep(checkpoint)) {
      this.#exact = checkpoint;
      return;
    }
    const at = this.#indexOf(checkpoint.step);
    this.#steps.splice(at, this.#steps[at]?.step === checkpoint.step ? 1 : 0, checkpoint);
    this.#newest = this.#steps.findLast(isServable);
  }

  checkpoints(): readonly Checkpoint[] {
    return this.#exact ? [this.#exact, ...this.#steps] : [...this.#steps];
  }

  /** `published`: the newest servable step. Else the promoted one, and the newest where none was, or it is servable no more. */
  latest(): Checkpoint | undefined {
    if (this.settings.latest !== 'published' && this.promoted !== undefined) {
      const promoted = this.#steps[this.#indexOf(this.promoted)];
      if (promoted?.step === this.promoted && isServable(promoted)) return promoted;
    }
    return this.#newest;
  }

  /** The answer for the bare name and for `@latest`. */
  resolveLatest(): Resolution {
    if (this.settings.latest === 'error') {
      return refuse(
        'name_ambiguous',
        `${quote(this.model)} alone does not say which step (its \`latest\` policy is "error"). ${this.summary()}`,
      );
    }
    const checkpoint = this.latest();
    if (checkpoint) return { kind: 'checkpoint', checkpoint };
    const unservable = this.#steps.findLast((step) => step.state.kind === 'unservable');
    return (unservable && refusalOf(unservable)) ?? refuse('model_not_found', this.summary());
  }

  /** A sentence for a step that is not known: the nearest servable ones and the range. */
  withoutStep(step: number): string {
    const steps = this.#steps.filter(isServable).map((checkpoint) => checkpoint.step);
    if (steps.length === 0) return `${quote(this.model)} has no step ${step}. ${this.summary()}`;
    const near = nearSteps(step, steps).map((known) => `${this.model}@${known}`);
    return `${quote(this.model)} has no step ${step}; nearest: ${near.join(', ')} (${range(steps)}).`;
  }

  /** One sentence on what can be asked of this model. */
  summary(): string {
    const steps = this.#steps.filter(isServable).map((checkpoint) => checkpoint.step);
    if (steps.length > 0) return `Ask for one step, such as "${this.model}@${steps.at(-1)}" (${range(steps)}).`;
    if (this.#exact && this.#exact.state.kind !== 'deleted')
      return `"${this.model}" is registered under that exact name and has no steps.`;
    if (this.#steps.length > 0) return `No step of "${this.model}" can be served: each was deleted or is not servable.`;
    const where = this.settings.watch === undefined ? 'Register one.' : `It looks in ${this.settings.watch}.`;
    return `No complete checkpoint of "${this.model}" was found yet. ${where}`;
  }

  /** Where the step is, or would be inserted. */
  #indexOf(step: number): number {
    let low = 0;
    let high = this.#steps.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#steps[middle]?.step ?? Number.POSITIVE_INFINITY) < step) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

const hasStep = (checkpoint: Checkpoint): checkpoint is Stepped => checkpoint.step !== undefined;
const isServable = (checkpoint: Checkpoint): boolean => checkpoint.state.kind === 'servable';
const range = (steps: readonly number[]): string =>
  steps.length === 1 ? `step ${steps[0]} only` : `steps ${steps[0]}..${steps.at(-1)}, ${steps.length} in all`;
