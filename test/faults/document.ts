// The shape of docs/reliability.md: its sections, a row, and the row's line. It must not run anything.
import { existsSync, readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '../..');
export const DOCUMENT = resolve(ROOT, 'docs/reliability.md');
/** Set in the environment while the document is being written, and may differ from what is seen. */
export const WRITING = 'RELIABILITY_WRITING';

/** In the document's order. */
export const SECTIONS = {
  before: 'An engine that fails before its answer',
  stream: 'An engine that fails in its answer',
  lies: 'An engine that lies, forgets or restarts',
  loads: 'Loads that fail',
  health: 'Engines whose requests fail, and adapters that engines die of',
  slots: 'Slots and queues',
  callers: 'Callers that leave, stall or flood',
  smuggling: 'Requests that two readers could read in two ways',
  operations: 'Draining, reloading, stopping',
  gateway: 'The gateway itself: its disk, its end',
} as const;
export type Section = keyof typeof SECTIONS;

export interface Row {
  /** Literally in the test's file, so that a line whose test is gone is found. */
  readonly fault: string;
  readonly required: string;
  /** What brings it about; the row fails without it. */
  readonly mechanism: string;
}

/** As it is handed from the test to whoever writes the document. */
export interface SeenRow extends Row {
  readonly section: Section;
  readonly seen: string;
  /** Of the test, from the root. */
  readonly file: string;
}

export const writtenLines = (): string[] => (existsSync(DOCUMENT) ? readFileSync(DOCUMENT, 'utf8').split('\n') : []);

export function lineOf({ fault, required, seen, mechanism, file }: SeenRow): string {
  const shown = `[${basename(file, '.test.ts')}](../${file})`;
  return `| ${[fault, required, seen, mechanism].map(cell).join(' | ')} | ${shown} |`;
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
