// How keys and the audit log lie in the database's tables: one row each way. Pure, as rows.ts, which has the registry's own nouns.
import { z } from 'zod';
import { CLASSES, SCOPES } from '../domain.ts';
import type { AuditEntry, AuditRow, KeyRow } from './store.ts';

type Cells = Record<string, string | number | null>;

const Text = z.string();
const Integer = z.number().int();
const Scopes = z.array(z.enum(SCOPES));
const Patterns = z.array(Text);

const KeyCells = z
  .object({
    id: Text,
    name: Text,
    digest: Text,
    previous_digest: Text.nullable(),
    previous_until_ms: Integer.nullable(),
    scopes: Text,
    models: Text,
    class: z.enum(CLASSES).nullable(),
    per_minute: Integer.nullable(),
    concurrent_max: Integer.nullable(),
    created_at_ms: Integer,
    until_ms: Integer.nullable(),
    revoked_at_ms: Integer.nullable(),
  })
  .transform(
    (row): KeyRow => ({
      id: row.id,
      name: row.name,
      digest: row.digest,
      previous:
        row.previous_digest === null || row.previous_until_ms === null
          ? undefined
          : { digest: row.previous_digest, untilMs: row.previous_until_ms },
      scopes: Scopes.parse(JSON.parse(row.scopes)),
      models: Patterns.parse(JSON.parse(row.models)),
      class: row.class ?? undefined,
      perMinute: row.per_minute ?? undefined,
      concurrentMax: row.concurrent_max ?? undefined,
      createdAtMs: row.created_at_ms,
      untilMs: row.until_ms ?? undefined,
      revokedAtMs: row.revoked_at_ms ?? undefined,
    }),
  );
export const keyOf = (cells: unknown): KeyRow => KeyCells.parse(cells);
export const keyRowOf = (key: KeyRow): Cells => ({
  id: key.id,
  name: key.name,
  digest: key.digest,
  previous_digest: key.previous?.digest ?? null,
  previous_until_ms: key.previous?.untilMs ?? null,
  scopes: JSON.stringify(key.scopes),
  models: JSON.stringify(key.models),
  class: key.class ?? null,
  per_minute: key.perMinute ?? null,
  concurrent_max: key.concurrentMax ?? null,
  created_at_ms: key.createdAtMs,
  until_ms: key.untilMs ?? null,
  revoked_at_ms: key.revokedAtMs ?? null,
});

const AuditCells = z
  .object({
    id: Integer,
    at_ms: Integer,
    who: Text,
    method: Text,
    path: Text,
    status: Integer,
    before: Text.nullable(),
    after: Text.nullable(),
  })
  .transform(
    ({ at_ms, before, after, ...row }): AuditRow => ({
      ...row,
      atMs: at_ms,
      before: before ?? undefined,
      after: after ?? undefined,
    }),
  );
export const auditOf = (cells: unknown): AuditRow => AuditCells.parse(cells);
export const auditRowOf = ({ atMs, before, after, ...row }: AuditEntry): Cells => ({
  ...row,
  at_ms: atMs,
  before: before ?? null,
  after: after ?? null,
});
