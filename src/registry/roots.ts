// Where adapters may be read from. A path is judged by where it really leads, after every symlink.
import { realpath } from 'node:fs/promises';
import { isAbsolute, relative, resolve, sep } from 'node:path';
import { StepgateError } from '../errors.ts';
import { hasCode, orNothing } from './inspect.ts';

export class Roots {
  readonly #roots: readonly string[];

  /** Absolute directories, which need not exist yet; none allows any path. */
  constructor(roots: readonly string[]) {
    this.#roots = roots.map((root) => resolve(root));
  }

  /** The real path, or undefined where there is nothing. Throws `path_not_allowed` when it leads outside every root,
   *  whether or not something is there: the answer must not tell what exists outside. */
  async admit(path: string): Promise<string | undefined> {
    const real = await orNothing(realpath(path)).catch((error: unknown) => {
      if (hasCode(error, 'ELOOP', 'EACCES', 'ENAMETOOLONG')) return undefined;
      throw error;
    });
    if (this.#roots.length === 0) return real;
    for (const root of this.#roots) {
      const realRoot = (await orNothing(realpath(root))) ?? root;
      if (real === undefined ? isInside(root, path) : isInside(realRoot, real)) return real;
    }
    throw new StepgateError(
      'path_not_allowed',
      `${path} is (or leads) outside the allowed roots. Add its directory to \`roots\` in the config, or copy the checkpoint into one of them.`,
      { param: 'path' },
    );
  }

  /** A relative path is looked for under each root in turn. */
  async find(path: string): Promise<string | undefined> {
    if (isAbsolute(path)) return this.admit(path);
    if (this.#roots.length === 0) {
      throw new StepgateError(
        'invalid_request',
        `The path "${path}" is relative. Give an absolute one, or set \`roots\` in the config.`,
        {
          param: 'path',
        },
      );
    }
    for (const root of this.#roots) {
      const real = await this.admit(resolve(root, path));
      if (real !== undefined) return real;
    }
    return undefined;
  }
}

function isInside(root: string, path: string): boolean {
  const way = relative(root, resolve(path));
  return way === '' || !(way === '..' || way.startsWith(`..${sep}`) || isAbsolute(way));
}
