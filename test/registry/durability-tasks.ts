// What the process that is killed does and says, for it and for the test that reads along.

export const MODEL = 'm';
export const STEPS = 16;
/** One for each lane. */
export const ALIASES = ['one', 'two', 'three', 'four'];

export type Task =
  | { readonly kind: 'register'; readonly step: number; readonly content: number }
  | { readonly kind: 'remove'; readonly step: number }
  /** `to` left out: the alias is removed. */
  | { readonly kind: 'alias'; readonly alias: string; readonly to?: number | undefined }
  | { readonly kind: 'sweep' };

export type Said =
  | { readonly kind: 'opened' }
  | { readonly kind: 'begun'; readonly lane: number; readonly task: Task }
  | { readonly kind: 'ended'; readonly lane: number; readonly refused: boolean };
