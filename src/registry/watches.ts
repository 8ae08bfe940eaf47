// The file system's events on a bounded number of directories. They only make discovery look sooner: where there are none (network file
// systems, limits of the kernel) it finds the same by rescans. It reads nothing and decides nothing.
import { type FSWatcher, watch } from 'node:fs';
import { join, sep } from 'node:path';

export interface FileEvent {
  /** The watched directory. */
  readonly dir: string;
  /** What changed in it, where the system says so. */
  readonly name: string | undefined;
  /** `rename`: it appeared or disappeared. */
  readonly kind: 'rename' | 'change';
}

export class Watches {
  readonly #max: number;
  readonly #onEvent: (event: FileEvent) => void;
  readonly #open = new Map<string, FSWatcher>();

  constructor(max: number, onEvent: (event: FileEvent) => void) {
    this.#max = max;
    this.#onEvent = onEvent;
  }

  /** Idempotent; to be called before the directory is read, so that nothing is missed in between. */
  add(dir: string): void {
    if (this.#open.has(dir) || this.#open.size >= this.#max) return;
    try {
      const watcher = watch(dir, (kind, name) => {
        // What was removed and made again under that name is another directory, of which the old watch hears nothing.
        if (kind === 'rename' && name !== null) this.drop(join(dir, name));
        this.#onEvent({ dir, name: name ?? undefined, kind });
      });
      watcher.on('error', () => this.drop(dir));
      this.#open.set(dir, watcher);
    } catch {
      // Not there (yet), or one of the cases above.
    }
  }

  /** The directory and all below it. */
  drop(dir: string): void {
    for (const [path, watcher] of this.#open) {
      if (path !== dir && !path.startsWith(dir + sep)) continue;
      watcher.close();
      this.#open.delete(path);
    }
  }

  close(): void {
    for (const watcher of this.#open.values()) watcher.close();
    this.#open.clear();
  }
}
