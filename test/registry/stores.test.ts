// Every Store there is, by the one suite.
import { join } from 'node:path';
import { Database } from '../../src/registry/database.ts';
import { scratch } from './fixtures.ts';
import { MemoryPlace } from './memory-store.ts';
import { storeConformance } from './store-conformance.ts';

storeConformance('SQLite', () => {
  const file = join(scratch(), 'registry.sqlite');
  return { open: () => new Database({ file, pathOf: (digest) => `/store/${digest}` }) };
});
storeConformance('memory', () => new MemoryPlace());
