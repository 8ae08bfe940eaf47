// Which driver speaks to which kind of engine. A new engine is one more row here, and one file that satisfies `Driver`.
import type { Line } from './ask.ts';
import type { Driver } from './driver.ts';
import { createHostedDriver, type HostedOptions } from './hosted.ts';
import { createLoraxDriver } from './lorax.ts';
import { createSglangDriver } from './sglang.ts';
import { createVllmDriver } from './vllm.ts';

export interface DriverOptions extends Line, HostedOptions {
  /** From the config; wins over what the engine says. */
  readonly slots?: number | undefined;
  /** A directory of the adapter store, as this engine sees it. */
  readonly pathFor: (path: string) => string;
}

export const DRIVERS = {
  vllm: createVllmDriver,
  sglang: createSglangDriver,
  lorax: createLoraxDriver,
  'openai-compatible': createHostedDriver,
} satisfies Record<string, (options: DriverOptions) => Driver>;

export type BackendKind = keyof typeof DRIVERS;
