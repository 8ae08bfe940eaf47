// What it costs to know a caller, beside one SHA-1 of its header: `Access.check`, `Browsers.admit` and `isPlain` for each request, warm and cold.
// Medians of rounds, in one process, side by side. Prints ns per call and the ratio to the hash.
import { hash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Access } from '../../src/access/access.ts';
import { Browsers } from '../../src/access/browsers.ts';
import { isPlain } from '../../src/listener.ts';
import { Database } from '../../src/registry/database.ts';

const CALLS = 100_000;
const ROUNDS = 15;

const directory = mkdtempSync(join(tmpdir(), 'stepgate-bench-'));
const rows = new Database({ file: join(directory, 'registry.sqlite'), pathOf: () => '' });
const address = { host: '127.0.0.1', port: 8080 };
const accessOf = () =>
  new Access({ rows, listen: address, admin: address, nowMs: Date.now, now: () => performance.now() });
const open = accessOf();
const access = accessOf();
const keys = Array.from({ length: 1_000 }, (_, n) =>
  access.keys.create({ name: `k${n}`, scopes: ['use'], models: ['*'] }),
);
const headers = keys.map(({ key }) => ({ authorization: `Bearer ${key}` }));
const [first = { authorization: '' }] = headers;
const browsers = new Browsers({ address, hosts: [], origins: [] });
const request = {
  method: 'POST',
  url: '/v1/chat/completions',
  httpVersionMajor: 1,
  httpVersionMinor: 1,
  headers: { host: '127.0.0.1:8080' },
  socket: {},
} as IncomingMessage;

/** The i-th call of a round. */
const CONTENDERS: Readonly<Record<string, (i: number) => unknown>> = {
  'SHA-1 of the header': () => hash('sha1', first.authorization, 'base64url'),
  'open, no header': () => open.check({}, 'use'),
  'open, a foreign key': () => open.check({ authorization: 'Bearer none' }, 'use'),
  'one key, warm': () => access.check(first, 'use'),
  'a thousand keys, warm': (i) => access.check(headers[i % headers.length] ?? first, 'use'),
  'a key, cold': (i) => access.keys.find(headers[i % headers.length]?.authorization ?? ''),
  'can be read in one way': () => isPlain(request, {} as ServerResponse),
  'Host and Origin': () => browsers.admit(request, {} as ServerResponse),
};

const ns = new Map(Object.keys(CONTENDERS).map((name) => [name, [] as number[]]));
for (let round = 0; round < ROUNDS; round++)
  for (const [name, call] of Object.entries(CONTENDERS)) {
    const from = performance.now();
    for (let i = 0; i < CALLS; i++) call(i);
    ns.get(name)?.push(((performance.now() - from) * 1e6) / CALLS);
  }
const median = (all: readonly number[]): number => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? 0;
const unit = median(ns.get('SHA-1 of the header') ?? []);
for (const [name, all] of ns)
  console.log(
    `${name.padEnd(24)} ${median(all).toFixed(0).padStart(6)} ns ${(median(all) / unit).toFixed(2).padStart(6)}`,
  );
rows.close();
rmSync(directory, { recursive: true });
