// Which driver speaks to which kind of engine. A new engine is one more row here, and one file that satisfies `Driver`.
import type { Line } from './ask.ts';
import type { Driver } from './driver.ts';
import { createVllmDriver } from './vllm.ts';

export interface DriverOptions extends Line {
  /** From the config; wins over what the engine says. */
  readonly slots?: number | undefined;
}

export const DRIVERS = {
  vllm: createVllmDriver,
} satisfies Record<string, (options: DriverOptions) => Driver>;

export type BackendKind = keyof typeof DRIVERS;
