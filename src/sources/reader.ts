// The seam of the room: how one kind of source says what is there. A reader lists; it neither chooses, nor keeps, nor decides what is allowed.
import type { SourcesConfig } from '../config.ts';
import type { Client } from './client.ts';
import type { Listing } from './listing.ts';
import type { Source, SourceKind } from './uri.ts';

export type SourceOf<K extends SourceKind> = Extract<Source, { kind: K }>;

export interface ReaderContext {
  readonly client: Client;
  readonly settings: SourcesConfig;
  /** The listing of another source that this one leads to, if that is allowed. */
  readonly elsewhere: (uri: string) => Promise<Listing>;
}

/** @throws StepgateError source_not_found, source_failed, source_not_allowed, checkpoint_invalid */
export type Reader<K extends SourceKind> = (source: SourceOf<K>, context: ReaderContext) => Promise<Listing>;

/** Entries of a listing that are read: an adapter has a handful. */
export const ENTRIES_MAX = 10_000;

export const tooMany = (uri: string): string =>
  `${uri} has more than ${ENTRIES_MAX} files. Name the folder that holds the adapter.`;

/** Each part of a path, encoded for a URL. */
export const encoded = (path: string): string => path.split('/').map(encodeURIComponent).join('/');
