// One process at a time writes to a directory of results: two would ask everything twice, and clean each other's files.
// A lock whose process is gone (killed, or the machine was restarted) is taken over.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { wrong } from '../terminal.ts';

/** @returns the way to let go. @throws Failure when another process that lives holds it */
export function lock(directory: string): () => void {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, '.running');
  if (!take(file)) {
    const holder = Number(readFileSync(file, 'utf8'));
    if (lives(holder))
      throw wrong(
        `another sweep (process ${holder}) writes to ${directory}: let it end, or name another directory with --out`,
      );
    rmSync(file, { force: true });
    if (!take(file)) throw wrong(`another sweep has just begun to write to ${directory}: let it end`);
  }
  return () => rmSync(file, { force: true });
}

function take(file: string): boolean {
  try {
    writeFileSync(file, `${process.pid}`, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function lives(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
