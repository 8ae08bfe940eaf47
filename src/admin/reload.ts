// POST /admin/v1/reload: the config's file is read anew; answers with what changed, or why nothing did.
import type { Hono } from 'hono';
import type { Reloads } from '../reload.ts';
import type { Env } from '../web.ts';

export function addReload(admin: Hono<Env>, reloads: Reloads): void {
  admin.post('/admin/v1/reload', async (c) => c.json({ changes: await reloads.reload(c.get('caller').who) }));
}
