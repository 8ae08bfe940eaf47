// `GET /v1/models` as vLLM and SGLang answer it: the bases, and the registered adapters with the paths that they were loaded from.
import { z } from 'zod';
import { as, type BaseModel, type BaseName } from '../domain.ts';
import { type Answer, ask, type Line, NoAnswer } from './ask.ts';
import type { LoadOutcome } from './driver.ts';

const modelList = z.object({
  object: z.literal('list'),
  data: z.array(
    z.object({
      id: z.string(),
      root: z.string().nullish(),
      /** Null for a base, else the base's name. */
      parent: z.string().nullish(),
      max_model_len: z.number().nullish(),
    }),
  ),
});

export interface Listed {
  readonly bases: readonly BaseModel[];
  /** Name -> path. */
  readonly adapters: ReadonlyMap<string, string>;
}

/** Undefined: it is no such list. */
export function readModelList({ status, text }: Answer): Listed | undefined {
  const list = status === 200 ? modelList.safeParse(parseJson(text)).data : undefined;
  if (list === undefined) return undefined;
  const adapters = list.data.filter(({ parent }) => parent != null);
  return {
    bases: list.data
      .filter(({ parent }) => parent == null)
      .map(({ id, root, max_model_len }) => ({
        name: as<BaseName>(id),
        maxModelLen: max_model_len ?? undefined,
        root: root ?? undefined,
      })),
    adapters: new Map(adapters.map(({ id, root }) => [id, root ?? ''])),
  };
}

/** What was to be loaded, as the engine was told. */
export interface Loading {
  readonly id: string;
  readonly path: string;
}

/** A name that is taken is ours only when it stands for our path. Rejects as `ask` does. */
export async function confirm(line: Line, { id, path }: Loading, signal: AbortSignal): Promise<LoadOutcome> {
  const root = readModelList(await ask(line, { path: '/v1/models' }, signal))?.adapters.get(id);
  if (root === path) return { kind: 'loaded' };
  if (root === undefined || root === '')
    return { kind: 'unknown', message: `the engine says that it holds ${id}, but does not list it` };
  const message = `the engine holds the name ${id} under another path, ${root}, so it is not used: unload it there, or restart the engine`;
  return { kind: 'failed', fault: 'backend', message };
}

/** It asks for a key, or does not take the one that it was shown. */
export const isKeyless = ({ status }: Answer): boolean => status === 401 || status === 403;

export const askedForKey = ({ url }: Line, path: string, { status }: Answer): Error =>
  new Error(
    `${url} asks for an API key, or refuses the one that it is shown (GET ${path} gave ${status}): set the backend's \`keyFile\` or \`keyEnv\``,
  );

/** Anything else that was thrown is a bug of ours, and not to be hidden in an outcome. */
export function asNoAnswer(error: unknown): NoAnswer {
  if (error instanceof NoAnswer) return error;
  throw error;
}

/** What a load has come to that got no answer. */
export function unanswered(error: unknown): LoadOutcome {
  const { kind, message } = asNoAnswer(error);
  return kind === 'refused'
    ? { kind: 'failed', fault: 'backend', message, unsent: true }
    : { kind: 'unknown', message };
}

/** Undefined: it is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
