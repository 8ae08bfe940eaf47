// Slots that are kept for a checkpoint, a model, its newest steps or a class, and for whom.
import type { Hono } from 'hono';
import { z } from 'zod';
import { CLASSES } from '../domain.ts';
import type { Gateway } from '../gateway.ts';
import type { Reserved } from '../reservations.ts';
import { type Env, parseBody } from '../web.ts';

const Name = z.string().min(1).max(300);
const SLOTS_MAX = 10_000;
/** One of them: what the slots are for. */
const For = z.union(
  [
    z.strictObject({ checkpoint: Name }),
    z.strictObject({ model: Name }),
    z.strictObject({ latest: Name }),
    z.strictObject({ class: z.enum(CLASSES) }),
  ],
  `one of {"checkpoint":"my-model@5"}, {"model":"my-model"}, {"latest":"my-model"}, {"class":"${CLASSES.join('|')}"}`,
);
const Post = z.strictObject({
  for: For,
  /** Left out: 2 for `latest`, else 1. */
  slots: z.int().min(1).max(SLOTS_MAX).optional(),
  owner: z.string().trim().min(1).max(200),
  /** Left out: until it is removed. */
  ttlMs: z.int().min(1).optional(),
});

export function addReservations(admin: Hono<Env>, { reservations }: Gateway): void {
  admin.get('/admin/v1/reservations', (c) => c.json({ data: reservations.all().map(view) }));
  admin.post('/admin/v1/reservations', async (c) => {
    const { for: what, slots, owner, ttlMs } = await parseBody(c, Post);
    return c.json(view(reservations.reserve({ ...thing(what), slots, owner, ttlMs })), 201);
  });
  admin.delete('/admin/v1/reservations/:id', (c) => {
    const id = c.req.param('id');
    reservations.release(id);
    return c.json({ id, removed: true });
  });
}

function thing(what: z.output<typeof For>): Pick<Reserved, 'kind' | 'name'> {
  if ('checkpoint' in what) return { kind: 'checkpoint', name: what.checkpoint };
  if ('model' in what) return { kind: 'model', name: what.model };
  if ('latest' in what) return { kind: 'latest', name: what.latest };
  return { kind: 'class', name: what.class };
}

const time = (ms: number) => new Date(ms).toISOString();
const view = ({ id, kind, name, slots, kept, on, about, owner, createdAtMs, untilMs }: Reserved) => ({
  id,
  for: { [kind]: name },
  slots,
  kept,
  on,
  about: about ?? null,
  owner,
  createdAt: time(createdAtMs),
  until: untilMs === undefined ? null : time(untilMs),
});
