// The sources alone, without a gateway: what fails is tried again at once, and its files can be looked at.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pino from 'pino';
import { onTestFinished } from 'vitest';
import { stringify } from 'yaml';
import { parseConfig } from '../../src/config.ts';
import { StepgateError } from '../../src/errors.ts';
import { type FetchNews, type Progress, Sources, type SourcesParts } from '../../src/sources/sources.ts';
import { scratch } from './house.ts';

export interface Room {
  readonly dataDir: string;
  readonly sources: Sources;
  readonly news: FetchNews[];
  /** Fetches, and resolves with the files that came, or with what was said instead. */
  bring(text: string, more?: { signal?: AbortSignal; onProgress?: (progress: Progress) => void }): Promise<Brought>;
  /** Directories of fetches that are kept. */
  staged(): Promise<string[]>;
}

export interface Brought {
  readonly uri?: string;
  readonly files?: Record<string, Buffer>;
  readonly code?: string;
  readonly message?: string;
}

export async function openRoom(written: Record<string, unknown>, parts: Partial<SourcesParts> = {}): Promise<Room> {
  const { sources: settings } = parseConfig(stringify({ sources: written }), { file: undefined });
  const dataDir = parts.dataDir ?? (await scratch());
  const news: FetchNews[] = [];
  const sources = new Sources({
    ...{ dataDir, settings: () => settings, keys: new Map(), promise: () => () => {}, tell: (one) => news.push(one) },
    ...{ log: pino({ level: 'silent' }), nowMs: Date.now, pausesMs: [1, 1] },
    ...parts,
  });
  onTestFinished(() => sources.close());
  return {
    dataDir,
    sources,
    news,
    bring: (text, { signal = new AbortController().signal, onProgress = () => {} } = {}) =>
      sources
        .bring(text, { signal, onProgress }, async ({ dir, uri }) => ({ uri, files: await filesIn(dir) }))
        .catch((error: unknown) => {
          if (error instanceof StepgateError) return { code: error.code, message: error.message };
          throw error;
        }),
    staged: () => readdir(join(dataDir, 'fetched')).catch(() => []),
  };
}

async function filesIn(dir: string): Promise<Record<string, Buffer>> {
  const names = await readdir(dir);
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(dir, name))] as const)),
  );
}
