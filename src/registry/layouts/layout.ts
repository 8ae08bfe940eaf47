// The seam of discovery: how one kind of trainer lays out its checkpoints, and how it says that one is finished.
// A layout answers questions about one directory; it neither watches, nor remembers, nor judges the adapter.

export interface Layout {
  /** The step that a directory entry's name stands for; undefined when it is not one of this trainer's checkpoints. */
  stepOf(entry: string): number | undefined;
  /** The directory of adapter_config.json, given the step's. */
  adapterDir(stepDir: string): string;
  /** Never rejects for files that are not there. */
  marker(stepDir: string): Promise<Marker>;
}

/** The trainer's own word about a step. */
export type Marker =
  /** `atNs`: the marker's mtime. Only files that are not newer than it are finished. */
  | { readonly kind: 'finished'; readonly atNs: bigint }
  | { readonly kind: 'unfinished'; readonly about: string }
  /** This trainer wrote none (yet): files count as finished once they have not moved for a settle time. */
  | { readonly kind: 'none' };
