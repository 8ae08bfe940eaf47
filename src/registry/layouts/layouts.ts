// The table of layouts: a new one is one file beside hf.ts and one row here.
import { hf } from './hf.ts';
import type { Layout } from './layout.ts';

export const LAYOUTS = { hf } as const satisfies Record<string, Layout>;
export type LayoutName = keyof typeof LAYOUTS;
