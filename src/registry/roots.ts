// Where adapters may be read from. A path is judged by where it really leads, after every symlink; a file that was opened is the one
// that was judged, whatever is put in its place meanwhile.
import { constants, readlinkSync } from 'node:fs';
import { type FileHandle, open, realpath, stat } from 'node:fs/promises';
import { isAbsolute, relative, resolve, sep } from 'node:path';
import { StepgateError } from '../errors.ts';
import { hasCode, orNothing } from './inspect.ts';
import { type Opened, stampOf } from './originals.ts';

export class Roots {
  #roots: readonly string[] = [];

  constructor(roots: readonly string[]) {
    this.allow(roots);
  }

  /** From now on. Absolute directories, which need not exist yet; none allows any path. */
  allow(roots: readonly string[]): void {
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

  /** Opens the file for reading; its caller closes it. undefined: nothing is there, or something else than a moment ago. Throws
   *  `path_not_allowed` as `admit` does. */
  async open(path: string): Promise<Opened | undefined> {
    const real = await this.admit(path);
    if (real === undefined) return undefined;
    // O_NOFOLLOW: a link that was put there just now was not judged. O_NONBLOCK: a FIFO of this name must not hang the gateway.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const file = await orNothing(open(real, flags)).catch((error: unknown) => {
      if (hasCode(error, 'ELOOP')) return undefined;
      throw error;
    });
    if (file === undefined) return undefined;
    let opened: Opened | undefined;
    try {
      const found = await file.stat({ bigint: true });
      if (found.isFile() && (await isAt(file, real)))
        opened = { file, path: real, size: Number(found.size), stamp: stampOf(found) };
    } finally {
      if (opened === undefined) await file.close();
    }
    return opened;
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

const HANDLES = process.platform === 'linux' ? '/proc/self/fd' : undefined;

/** A path by which the very file that was opened can be named, where the system has such a thing. */
export const handlePath = ({ file, path }: Opened): string => (HANDLES === undefined ? path : `${HANDLES}/${file.fd}`);

/** Whether the opened file lies at this real path: a directory on the way may have become a link after it was judged. */
async function isAt(file: FileHandle, real: string): Promise<boolean> {
  // Synchronous: the kernel answers from memory, wherever the file is.
  if (HANDLES !== undefined) return readlinkSync(`${HANDLES}/${file.fd}`) === real;
  const [opened, there, again] = await Promise.all([file.stat(), orNothing(stat(real)), orNothing(realpath(real))]);
  return again === real && there?.ino === opened.ino && there.dev === opened.dev;
}

function isInside(root: string, path: string): boolean {
  const way = relative(root, resolve(path));
  return way === '' || !(way === '..' || way.startsWith(`..${sep}`) || isAbsolute(way));
}
