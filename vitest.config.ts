import { defineConfig } from 'vitest/config';

// Two suites share this file: `npm test` (everything but the real engine) and `npm run test:vllm` (only that).
const real = process.env.STEPGATE_TEST_ENGINE === 'vllm';

export default defineConfig({
  test: {
    // One engine at a time: the machine has two cores.
    fileParallelism: !real,
    include: real ? ['test/vllm/**/*.test.ts'] : ['test/**/*.test.ts'],
    exclude: real ? [] : ['test/vllm/**'],
    testTimeout: real ? 120_000 : 15_000,
    hookTimeout: real ? 600_000 : 15_000,
  },
});
