// What an engine has to serve so that a checkpoint can be asked for: its base, where that is, and the rank; and who serves it already.
// Reads the registry, the fleet and config files on the disk; changes nothing.
import { stat } from 'node:fs/promises';
import { basename, isAbsolute, join } from 'node:path';
import { as, type BackendName, type BaseName, type Checkpoint } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { Gateway } from '../gateway.ts';
import { notServable } from '../registry/arrivals.ts';
import { CONFIG_FILE, inspect, readJson } from '../registry/inspect.ts';
import { isOpen } from '../router/state.ts';

export interface Wanted {
  /** What to ask for. */
  readonly model: string;
  /** The base's served name. */
  readonly base: BaseName;
  /** Candidates for where the base is: paths and hub ids, the most likely first. */
  readonly roots: readonly string[];
  /** Of the adapter; undefined: it is a full model. */
  readonly rank: number | undefined;
}

type Seen = Pick<Gateway, 'registry' | 'adapters' | 'router' | 'config'>;

/** @param name the engine's: a full model is served under it. @throws StepgateError that says what to do */
export function wantedOf(gateway: Seen, { checkpoint, name }: { checkpoint: string; name: string }): Promise<Wanted> {
  return isAbsolute(checkpoint) ? ofDirectory(gateway, checkpoint, name) : ofCheckpoint(gateway, checkpoint);
}

async function ofDirectory({ registry: { catalog } }: Seen, dir: string, name: string): Promise<Wanted> {
  const found = await inspect(dir);
  if (found.kind === 'incomplete') throw problem('checkpoint_invalid', found.missing);
  if (found.contents.architecture === undefined)
    throw problem(
      'checkpoint_invalid',
      `${dir} is an adapter: register it first ("stepgate register my-model@5 ${dir}"), then: --checkpoint my-model@5`,
    );
  const isServed = catalog.bases.some((base) => base.name === name && base.root === dir);
  if (!isServed && (catalog.hasExact(name) || catalog.has(name)))
    throw problem(
      'conflict',
      `"${name}" is a model's name already: the full model would be asked for by it; choose another`,
    );
  return { model: name, base: as<BaseName>(name), roots: [dir], rank: undefined };
}

async function ofCheckpoint({ registry: { catalog }, adapters }: Seen, text: string): Promise<Wanted> {
  const checkpoint = find(catalog, text);
  const { name, adapter, state } = checkpoint;
  if (state.kind === 'unservable') throw notServable(name, state.reasons);
  if (checkpoint.hosted !== undefined)
    throw problem('checkpoint_not_servable', `no files of "${name}" are here: a service serves it`);
  if (adapter === undefined || state.kind === 'deleted') throw problem('checkpoint_deleted', `"${name}" was deleted`);
  const config = await readJson(join(adapter.path, CONFIG_FILE));
  const trainedOn = baseIn(config);
  const base =
    catalog.bases.length === 0 && checkpoint.base === undefined ? undefined : adapters.baseNameOf(checkpoint);
  const root = base === undefined ? undefined : adapters.baseOf(checkpoint)?.root;
  const roots = [root, trainedOn, base].flatMap((one) => (one === undefined ? [] : [one]));
  const served = base ?? (trainedOn === undefined ? undefined : isHubId(trainedOn) ? trainedOn : basename(trainedOn));
  if (served === undefined)
    throw problem(
      'checkpoint_not_servable',
      `${name} does not say which base it is for: set models.${checkpoint.model}.base in the config, or register it with --base`,
    );
  return { model: name, base: as<BaseName>(served), roots, rank: adapter.rank };
}

function find(catalog: Seen['registry']['catalog'], text: string): Checkpoint {
  for (const checkpoint of catalog.all()) if (checkpoint.id === text) return checkpoint;
  const answer = catalog.resolve(text);
  switch (answer.kind) {
    case 'checkpoint':
      return answer.checkpoint;
    case 'base':
      throw problem(
        'invalid_request',
        `"${text}" is a base that an engine serves: give a checkpoint, or the directory of a full model`,
      );
    case 'refused':
      throw problem(answer.code, answer.message);
  }
}

function baseIn(config: unknown): string | undefined {
  const base =
    typeof config === 'object' && config !== null && 'base_model_name_or_path' in config
      ? config.base_model_name_or_path
      : undefined;
  return typeof base === 'string' && base !== '' ? base : undefined;
}

/** `Qwen/Qwen3-8B`: nothing that leads somewhere on a disk. */
const isHubId = (root: string): boolean => /^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9][\w.-]*)?$/.test(root);

/** The first of them that an engine on this machine can read, or fetch. @throws StepgateError invalid_request */
export async function usableRoot({ roots, model }: Wanted, given: string | undefined): Promise<string> {
  const candidates = given === undefined ? roots : [given];
  for (const root of candidates) {
    if (isHubId(root)) return root;
    if (
      isAbsolute(root) &&
      (await stat(root).then(
        (found) => found.isDirectory(),
        () => false,
      ))
    )
      return root;
  }
  throw problem(
    'invalid_request',
    `the base of ${model} is not where it was said to be: ${candidates.join(', ')} ${candidates.length === 1 ? 'is' : 'are'} no directory on the gateway's machine. Say where it is: --root PATH, or a hub's id such as Qwen/Qwen3-8B`,
  );
}

/** A running backend that would serve it; undefined: none. */
export function servedBy({ config, router: { state } }: Seen, { base, rank }: Wanted): BackendName | undefined {
  return config.backends.find(({ name, rankMax, models }) => {
    if (models !== undefined) return false; // a service, which loads no files
    const known = state.backends.get(name);
    const isRankOk = rank === undefined || rankMax === undefined || rank <= rankMax;
    return known !== undefined && isOpen(known) && known.bases.has(base) && isRankOk;
  })?.name;
}

const problem = (code: ConstructorParameters<typeof StepgateError>[0], message: string) =>
  new StepgateError(code, message, { param: 'checkpoint' });
