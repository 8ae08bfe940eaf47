// Keys: made, listed, rotated, revoked. A secret is in the answer to the request that made it, and nowhere else.
import type { Context, Hono } from 'hono';
import { z } from 'zod';
import type { Told } from '../access/keys.ts';
import { CLASSES, SCOPES } from '../domain.ts';
import type { Gateway } from '../gateway.ts';
import type { KeyRow } from '../registry/store.ts';
import { type Env, parseBody } from '../web.ts';

const GRACE_MS_DEFAULT = 3_600_000;
const Name = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .regex(/^\P{C}*$/u, 'no control characters');
const Post = z.strictObject({
  name: Name,
  scopes: z.array(z.enum(SCOPES)).max(SCOPES.length),
  /** Of the models that it may use and publish. */
  models: z.array(z.string().min(1).max(200)).max(100).default([]),
  class: z.enum(CLASSES).optional(),
  perMinute: z.int().min(1).max(1_000_000).optional(),
  concurrentMax: z.int().min(1).max(100_000).optional(),
  /** Left out: until it is revoked. */
  ttlMs: z.int().min(1).optional(),
});
/** How long the old secret still counts. */
const Rotate = z.strictObject({ graceMs: z.int().min(0).default(GRACE_MS_DEFAULT) });

export function addKeys(admin: Hono<Env>, { access: { keys } }: Gateway): void {
  admin.get('/admin/v1/keys', (c) => c.json({ data: keys.all().map(view) }));
  admin.post('/admin/v1/keys', async (c) => tell(c, keys.create(await parseBody(c, Post)), 201));
  admin.post('/admin/v1/keys/:id/rotate', async (c) => {
    const { graceMs } = await parseBody(c, Rotate);
    return tell(c, keys.rotate(c.req.param('id'), graceMs), 200);
  });
  admin.delete('/admin/v1/keys/:id', (c) => c.json(view(keys.revoke(c.req.param('id')))));
}

function tell(c: Context<Env>, told: Told, status: 200 | 201): Response {
  c.header('cache-control', 'no-store');
  return c.json({ ...view(told), key: told.key }, status);
}

const time = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());

const view = (row: KeyRow) => ({
  id: row.id,
  name: row.name,
  scopes: row.scopes,
  models: row.models,
  class: row.class ?? null,
  perMinute: row.perMinute ?? null,
  concurrentMax: row.concurrentMax ?? null,
  createdAt: time(row.createdAtMs),
  until: time(row.untilMs),
  oldSecretUntil: time(row.previous?.untilMs),
  revokedAt: time(row.revokedAtMs),
});
