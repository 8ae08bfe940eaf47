import { defineConfig } from 'vitest/config';

// Three suites share this file: `npm test` (simulated engines), `npm run test:vllm` (the real engine's promises) and `npm run test:harness`
// (other people's clients). The last two install what they need, once, and take minutes.
const SUITES = {
  house: { include: ['test/**/*.test.ts'], exclude: ['test/vllm/**', 'test/harness/**'], slow: false },
  vllm: { include: ['test/vllm/**/*.test.ts'], exclude: [], slow: true },
  harness: { include: ['test/harness/**/*.test.ts', 'test/examples/**/*.test.ts'], exclude: [], slow: true },
} as const;

const { STEPGATE_TEST_SUITE: named, STEPGATE_TEST_ENGINE: engine } = process.env;
const suite = named === 'harness' ? 'harness' : engine === 'vllm' ? 'vllm' : 'house';
const { include, exclude, slow } = SUITES[suite];

export default defineConfig({
  test: {
    // One engine at a time: the machine has two cores.
    fileParallelism: !slow,
    // Tests wait more than they compute: left to itself, Vitest leaves one core idle, of two.
    maxWorkers: '100%',
    include: [...include],
    exclude: [...exclude],
    globalSetup: suite === 'harness' ? ['test/harness/setup.ts'] : [],
    testTimeout: slow ? 120_000 : 30_000,
    hookTimeout: slow ? 600_000 : 30_000,
  },
});
