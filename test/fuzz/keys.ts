// What callers show, and what crosses the gateway of their headers: keys that are nearly good, and headers under every name.
import { ok } from 'node:assert/strict';
import type { IncomingHttpHeaders } from 'node:http';
import fc from 'fast-check';
import { Access } from '../../src/access/access.ts';
import { withoutSecrets } from '../../src/access/secret.ts';
import { HEADER_POLICY, requestHeaders, responseHeaders } from '../../src/backends/headers.ts';
import { StepgateError } from '../../src/errors.ts';
import { MemoryPlace } from '../registry/memory-store.ts';
import { damagedText } from './damage.ts';
import { same, type Target } from './target.ts';

const NOW_MS = 1_000_000;
const HOUR_MS = 3_600_000;
const OTHERS = { host: '0.0.0.0', port: 8080 };

/** A gateway with keys that count and keys that do not, new ones each time: a seed leads to the same case, of other letters. `live`: by the key's text, its id. */
function house() {
  let nowMs = NOW_MS;
  const access = new Access({
    rows: new MemoryPlace().open(),
    listen: OTHERS,
    admin: OTHERS,
    nowMs: () => nowMs,
    now: () => 0,
  });
  const { keys } = access;
  const make = (scope: 'use' | 'admin', ttlMs?: number) =>
    keys.create({ name: 'k', scopes: [scope], models: ['*'], ttlMs });
  const [use, admin, expired, revoked, rotated, graced] = [
    make('use'),
    make('admin'),
    make('use', 1),
    make('use'),
    make('use'),
    make('use'),
  ];
  keys.revoke(revoked.id);
  const second = keys.rotate(rotated.id, 0);
  const third = keys.rotate(graced.id, HOUR_MS);
  nowMs += 1_000;
  const live = new Map([use, admin, second, third, graced].map(({ key, id }) => [key, id]));
  return { access, live, all: [...live.keys(), expired.key, revoked.key, rotated.key], adminId: admin.id };
}

/** RFC 6750, and the header's bare value: docs/access.md. */
const bare = (presented: string): string => presented.replace(/^bearer +/i, '').trim();

export const keys: Target = {
  name: 'keys',
  promise:
    'nobody is let in but with the whole of a key that counts, in the first header that holds one; and no log keeps a secret',
  slice: 4_000,
  property: () => {
    const { access, live, all, adminId } = house();
    const key = fc.constantFrom(...all);
    const shown = fc.oneof(
      fc
        .tuple(fc.constantFrom('', 'Bearer ', 'bearer  ', 'BEARER ', 'Basic ', ' ', 'Bearer Bearer '), key)
        .map((parts) => parts.join('')),
      damagedText(key, 'sg_.09azAZ-_'),
      fc.tuple(key, key).map(([a, b]) => `${a.split('.')[0]}.${b.split('.')[1]}`),
      fc.string({ maxLength: 5 }),
    );
    const headers = fc.record({ authorization: shown, 'x-api-key': shown, 'api-key': shown }, { requiredKeys: [] });
    const noise = fc.string({ unit: fc.constantFrom('s', 'g', '_', '.', '-', ' ', '0'), maxLength: 5 });
    const need = fc.constantFrom('use' as const, 'admin' as const);
    return fc.property(headers, need, noise, (sent, need, noise) => {
      const values = [sent.authorization, sent['x-api-key'], sent['api-key']].flatMap((value) => value || []);
      const first = values.find((value) => /^(?:bearer +)?sg_/i.test(value)) ?? values[0] ?? '';
      const id = live.get(bare(first));
      const isOfScope = (need === 'admin') === (id === adminId);
      const wanted = id === undefined ? 'invalid_api_key' : isOfScope ? id : 'forbidden';
      let found: string;
      try {
        found = access.check(sent, need).who.split(' ')[0] ?? '';
      } catch (error) {
        if (!(error instanceof StepgateError)) throw error;
        found = error.code;
      }
      same(found, wanted);
      for (const text of all)
        ok(!withoutSecrets(`${noise}${text}${noise}`).includes(text.split('.')[1] ?? ''), `${noise}${text}${noise}`);
    });
  },
};

const stripped = [...HEADER_POLICY.request.stripped, ...HEADER_POLICY.response.stripped];
const name = fc.oneof(
  fc.constantFrom(...stripped, 'x-forwarded-for', 'x-stepgate-class', 'x-stepgate-'),
  fc.constantFrom('content-type', 'accept', 'x-a', 'traceparent', 'x-forwarded', 'constructor', 'tracestate'),
);
const sentHeaders = fc.dictionary(
  name,
  fc.oneof(fc.string({ maxLength: 4 }), fc.array(fc.constantFrom('a', 'b'), { maxLength: 2 })),
  {
    maxKeys: 8,
    noNullPrototype: true,
  },
);
const connection = fc.option(
  fc
    .array(fc.oneof(fc.constantFrom('close', 'keep-alive', 'X-A ', ' accept'), name), { maxLength: 3 })
    .map((names) => names.join(',')),
  { nil: undefined },
);

export const headers: Target = {
  name: 'headers',
  promise: 'no header of the table crosses, nor one that Connection names; every other one does, as it was',
  slice: 4_000,
  property: () =>
    fc.property(sentHeaders, connection, (given, named) => {
      const sent = { ...given, ...(named !== undefined && { connection: named }) } as IncomingHttpHeaders;
      const hopping = new Set(
        (Array.isArray(sent.connection) ? sent.connection.join(',') : (sent.connection ?? ''))
          .toLowerCase()
          .split(',')
          .map((one) => one.trim()),
      );
      const crosses = (header: string, names: readonly string[], prefixes: readonly string[]) =>
        !names.includes(header) && !hopping.has(header) && !prefixes.some((prefix) => header.startsWith(prefix));
      const pick = (names: readonly string[], prefixes: readonly string[] = []) =>
        Object.entries(sent).filter(([header]) => crosses(header, names, prefixes));
      const { request, response } = HEADER_POLICY;
      same(requestHeaders(sent, 'id'), {
        ...Object.fromEntries(
          pick(request.stripped, request.strippedPrefixes).map(([header, value]) => [
            header,
            String(Array.isArray(value) ? value.join(', ') : value),
          ]),
        ),
        'x-request-id': 'id',
        'accept-encoding': 'identity',
      });
      same(responseHeaders(sent, { 'x-request-id': 'id' }, undefined), {
        ...Object.fromEntries(pick(response.stripped)),
        'x-request-id': 'id',
      });
    }),
};
