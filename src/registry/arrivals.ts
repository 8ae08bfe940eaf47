// How one checkpoint comes in: looked at, judged, taken into the store, written down. A caller hears of it after files and row are on the disk.
// It is asked one arrival at a time under one name; several names may be on their way at once.
import { randomUUID } from 'node:crypto';
import {
  type Adapter,
  as,
  type BaseModel,
  type BaseName,
  type Checkpoint,
  type CheckpointId,
  type CheckpointName,
  type Details,
  type Digest,
  type ModelName,
  NO_DETAILS,
  onlyBase,
  weightsOf,
} from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { AdapterIds } from './adapter-ids.ts';
import type { AdapterStore, Taken } from './adapter-store.ts';
import { BaseReader } from './base-modules.ts';
import type { Catalog } from './catalog.ts';
import { examine, examineOther } from './examine.ts';
import type { Applied, Ledger } from './ledger.ts';
import { parseName, printName } from './name.ts';
import type { Originals, Signature } from './originals.ts';

/** One checkpoint on its way in. */
export interface Arrival {
  readonly name: CheckpointName;
  readonly model: ModelName;
  readonly step: number | undefined;
  readonly base: BaseName | undefined;
  readonly dir: string;
  /** What is told as its source, where that is not `dir`. */
  readonly source?: string | undefined;
  /** Asked for by a caller, who is told of a refusal; or found, when a refusal is written down. */
  readonly how: 'asked' | 'found';
  /** Whether other weights may take the place of those that are served under the name. */
  readonly replace: boolean;
  /** Read when it is taken in. */
  readonly details: () => Promise<Details>;
}

export interface ArrivalsParts {
  readonly catalog: Catalog;
  readonly ledger: Ledger;
  readonly files: AdapterStore;
  readonly ids: AdapterIds;
  readonly nowMs: () => number;
  /** Where the store keeps a digest. */
  readonly pathOf: (digest: Digest) => string;
}

/** What was made of an arrival's files. */
interface Judged {
  readonly signature: Signature;
  readonly details: Details;
  readonly taken: (Taken & { readonly rank: number }) | undefined;
  readonly state: Exclude<Checkpoint['state'], { kind: 'deleted' }>;
  readonly warnings: readonly string[];
}

/** How often files that change under the copy are tried again. */
const ATTEMPTS_MAX = 3;
const SERVABLE: Checkpoint['state'] & { kind: 'servable' } = { kind: 'servable' };

export class Arrivals {
  readonly #parts: ArrivalsParts;
  readonly #bases = new BaseReader();

  constructor(parts: ArrivalsParts) {
    this.#parts = parts;
  }

  /** Errors: conflict, path_not_allowed, checkpoint_invalid, checkpoint_not_servable, storage_full. */
  async take(arrival: Arrival): Promise<Checkpoint> {
    const { files } = this.#parts;
    this.checkFree(arrival.name);
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      const originals = await files.open(arrival.dir);
      try {
        const checkpoint = await this.#takeIn(arrival, originals);
        if (checkpoint) return checkpoint;
      } finally {
        await originals?.close();
      }
    }
    const message = `The files in ${arrival.dir} change while they are read. Register them when the trainer has finished.`;
    throw new StepgateError('checkpoint_invalid', message, { param: 'path' });
  }

  /** undefined: its files changed meanwhile. */
  async #takeIn(arrival: Arrival, originals: Originals | undefined): Promise<Checkpoint | undefined> {
    const base = this.#baseOf(arrival);
    const modules = await this.#bases.modulesOf(base?.root);
    const examined = await (originals
      ? examine(originals, { base, modules, forNaN: true })
      : examineOther(arrival.dir));
    if (examined.kind === 'incomplete')
      throw new StepgateError('checkpoint_invalid', examined.missing, { param: 'path' });
    const { signature, verdict } = examined;
    // Read while the copy is on its way. Never a reason not to serve it.
    const details = arrival.details().catch(() => NO_DETAILS);
    try {
      if (verdict.kind === 'unservable') {
        const state = { kind: 'unservable', reasons: verdict.reasons } as const;
        return this.#settle(arrival, { signature, details: await details, taken: undefined, state, warnings: [] });
      }
      const { rank, warnings } = verdict;
      if (originals === undefined) return undefined;
      return await this.#parts.files.keep(originals, async (taken) => {
        const judged = { signature, details: await details, taken: { ...taken, rank }, state: SERVABLE, warnings };
        return this.#settle(arrival, judged);
      });
    } finally {
      await details;
    }
  }

  /** Errors: conflict. */
  checkFree(name: CheckpointName): void {
    const { catalog } = this.#parts;
    if (catalog.hasBase(name)) {
      const message = `"${name}" is a base model's name: a checkpoint of that name would hide it. Choose another.`;
      throw new StepgateError('conflict', message, { param: 'name' });
    }
    const { model } = identify(name);
    if (catalog.deployment(model)) {
      const message = `"${model}" is a deployment: a model of that name would hide it. Choose another name.`;
      throw new StepgateError('conflict', message, { param: 'name' });
    }
    const parsed = parseName(name);
    if (parsed.kind === 'alias' && catalog.alias(parsed.model, parsed.alias)) {
      const message = `"${name}" is an alias: a checkpoint of that name would hide it. Choose another, or remove the alias.`;
      throw new StepgateError('conflict', message, { param: 'name' });
    }
  }

  /** The base that it will be served on, where that is known yet. */
  #baseOf({ base }: Arrival): BaseModel | undefined {
    const { bases } = this.#parts.catalog;
    if (base === undefined) return onlyBase(bases);
    return bases.find(({ name }) => name === base);
  }

  /** A caller's mistake does not take away what is served under the name; a trainer that wrote the step again does. */
  #settle(arrival: Arrival, judged: Judged): Promise<Checkpoint> {
    const { catalog, ledger } = this.#parts;
    const { name, model, dir, source = dir, how } = arrival;
    const apply = (): Applied<Checkpoint> => {
      const current = catalog.find(name);
      const { state } = judged;
      if (state.kind === 'unservable' && how === 'asked' && current?.state.kind === 'servable')
        throw notServable(name, state.reasons);
      if (current === undefined || !isSame(current, arrival, judged)) {
        if (current?.state.kind === 'servable' && !arrival.replace) throw taken(name);
        return this.#add(arrival, judged, current);
      }
      const sighting = { name, source, signature: judged.signature };
      return { value: current, changes: [{ kind: 'seen', sighting }], news: [], undo: () => {} };
    };
    return ledger.writeSoon({ model, who: how === 'asked' ? 'registration' : 'trainer', apply });
  }

  #add(arrival: Arrival, judged: Judged, current: Checkpoint | undefined): Applied<Checkpoint> {
    const { catalog, ids, nowMs } = this.#parts;
    const { name, model, step, base, dir, source = dir } = arrival;
    const checkpoint: Checkpoint = {
      id: as<CheckpointId>(randomUUID()),
      name,
      model,
      step,
      revision: (current?.revision ?? 0) + 1,
      adapter: judged.taken && this.#adapterOf(name, judged.taken),
      base,
      source,
      createdAtMs: nowMs(),
      state: judged.state,
      details: judged.details,
      warnings: judged.warnings,
    };
    catalog.put(checkpoint);
    ids.remember(checkpoint);
    const retires = current?.state.kind !== 'deleted' && (current && weightsOf(current)?.id) !== checkpoint.adapter?.id;
    const kind = judged.state.kind === 'unservable' ? 'unservable' : 'registered';
    return {
      value: checkpoint,
      changes: [{ kind: 'added', checkpoint, sighting: { name, source, signature: judged.signature } }],
      news: [{ kind, checkpoint, replaced: retires ? current : undefined }],
      undo: () => (current ? catalog.put(current) : catalog.forget(checkpoint)),
    };
  }

  #adapterOf(name: CheckpointName, { digest, bytes, rank }: Taken & { readonly rank: number }): Adapter {
    const { ids, pathOf } = this.#parts;
    return { id: ids.idFor(name, digest), path: pathOf(digest), digest, bytes, rank };
  }
}

/** The name stands for these files already: nothing to write down but that they were seen. */
function isSame(current: Checkpoint, { base, dir, source = dir }: Arrival, { state, taken }: Judged): boolean {
  if (state.kind === 'servable')
    return current.state.kind === 'servable' && current.adapter?.digest === taken?.digest && current.base === base;
  return (
    current.state.kind === 'unservable' &&
    current.state.reasons.join() === state.reasons.join() &&
    current.source === source
  );
}

const taken = (name: string): StepgateError =>
  new StepgateError('conflict', `"${name}" stands for other weights. Choose another name, or ask to replace them.`, {
    param: 'name',
  });

export const notServable = (name: string, reasons: readonly string[]): StepgateError =>
  new StepgateError('checkpoint_not_servable', `"${name}" cannot be served: ${reasons.join(' ')}`, { param: 'path' });

/** What a name that may be registered stands for. */
export function identify(text: string): Pick<Arrival, 'name' | 'model' | 'step'> {
  const parsed = parseName(text);
  if (parsed.kind === 'step') return { name: as(printName(parsed)), model: as(parsed.model), step: parsed.step };
  return { name: as(text), model: as(text), step: undefined };
}
