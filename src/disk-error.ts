// What the disk under `data` refuses, in the words of the catalogue.
import { StepgateError } from './errors.ts';

const FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT']);
const FAILED: ReadonlySet<unknown> = new Set(['EROFS', 'EIO', 'ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'ESTALE']);
// Primary result codes: https://www.sqlite.org/rescode.html
const SQLITE_FULL = 13;
const SQLITE_FAILED: ReadonlySet<number> = new Set([8, 10, 11, 14]); // READONLY, IOERR, CORRUPT, CANTOPEN

/** Of a file under `data`, or of its database. `undone`: what did not happen because of it. Other errors are given back as they are. */
export function diskError(error: unknown, undone: string): unknown {
  const { code, errcode } = error as { code?: string; errcode?: number };
  const primary = errcode === undefined ? -1 : errcode & 0xff;
  if (FULL.has(code) || primary === SQLITE_FULL)
    return new StepgateError('storage_full', `The disk under \`data\` is full: ${undone}. Free space and try again.`, {
      cause: error,
    });
  if (!FAILED.has(code) && !SQLITE_FAILED.has(primary)) return error;
  const why = primary < 0 ? code : (error as Error).message;
  return new StepgateError(
    'storage_failed',
    `The directory under \`data\` cannot be written (${why}): ${undone}. Was it removed, unmounted or made read-only? Mend it, then restart the gateway.`,
    { cause: error },
  );
}
