// Time as the simulated engine sees it, so that a test can run it faster or by hand. Nothing else in src/sim asks for the time.
import { setImmediate, setTimeout } from 'node:timers/promises';

export interface Clock {
  /** Monotonic, ms. */
  now(): number;
  /** Unix time, seconds. */
  unixS(): number;
  /** At least one turn of the event loop, even for 0 ms: an engine with no delays must still let requests in. */
  sleep(ms: number): Promise<void>;
}

/** Real time; `speed` 10 makes every wait a tenth. */
export const realClock = (speed = 1): Clock => ({
  now: () => performance.now() * speed,
  unixS: () => Date.now() / 1000,
  sleep: (ms) => (ms > 0 ? setTimeout(ms / speed) : setImmediate()),
});
