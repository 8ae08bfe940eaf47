// What the config says of the models, as it changes while the registry runs: the catalog goes by it, and the history tells what moved.
import { isDeepStrictEqual } from 'node:util';
import type { ModelName } from '../domain.ts';
import type { Catalog } from './catalog.ts';
import type { Ledger } from './ledger.ts';
import type { RegistrySettings } from './options.ts';
import type { ModelSettings } from './resolution.ts';

interface Parts {
  readonly catalog: Catalog;
  readonly ledger: Ledger;
  /** Sentences for people. */
  readonly onProblem: (about: string) => void;
}

type Models = ReadonlyMap<ModelName, ModelSettings>;

/** Each model goes by `after` from now on; one that is not in it has the defaults. */
export function configureModels(parts: Parts, before: Models, after: Models): void {
  for (const model of new Set([...before.keys(), ...after.keys()])) {
    const settings = after.get(model);
    if (!isDeepStrictEqual(settings, before.get(model))) configure(parts, model, settings);
  }
}

/** With the moves of `latest` and `best` that follow. A disk that refuses keeps them out of the history, and changes nothing else. */
function configure({ catalog, ledger, onProblem }: Parts, model: ModelName, settings: ModelSettings | undefined): void {
  const apply = () => {
    catalog.setModel(model, settings);
    return { value: undefined, changes: [], news: [], undo: () => {} };
  };
  try {
    ledger.write({ model, who: 'config', apply });
  } catch (error) {
    onProblem(`where the names of ${model} lead now could not be written into its history: ${error}`);
  }
}

/** Where checkpoints may be registered from; watched directories always. None: anywhere. */
export const rootsOf = ({ roots, models }: RegistrySettings): readonly string[] =>
  roots.length === 0 ? [] : [...roots, ...[...models.values()].flatMap(({ watch }) => watch ?? [])];
