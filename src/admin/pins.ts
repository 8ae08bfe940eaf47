// Pins: steps that retention and deletion spare until a time, and for whom.
import type { Hono } from 'hono';
import { z } from 'zod';
import type { Gateway } from '../gateway.ts';
import type { Pin } from '../registry/store.ts';
import { type Env, parseBody } from '../web.ts';

const Step = z.int().min(0);
const common = {
  model: z.string().min(1),
  owner: z.string().min(1).max(200),
  /** Left out: until it is removed. */
  ttlMs: z.int().min(1).optional(),
};
const Post = z.union([
  z.strictObject({ ...common, steps: z.array(Step).min(1).max(10_000) }),
  z.strictObject({ ...common, from: Step, to: Step }),
]);

export function addPins(admin: Hono<Env>, gateway: Gateway): void {
  const { registry } = gateway;
  admin.get('/admin/v1/pins', (c) => c.json({ data: registry.pins.all().map(view) }));
  admin.post('/admin/v1/pins', async (c) => {
    const { model, owner, ttlMs, ...which } = await parseBody(c, Post);
    const steps = 'steps' in which ? which.steps : { from: which.from, to: which.to };
    return c.json(view(registry.pins.add({ model, steps, owner, ttlMs })), 201);
  });
  admin.delete('/admin/v1/pins/:id', (c) => {
    const id = c.req.param('id');
    registry.pins.remove(id);
    return c.json({ id, removed: true });
  });
}

const time = (ms: number) => new Date(ms).toISOString();
const view = ({ createdAtMs, untilMs, steps, ...pin }: Pin) => ({
  ...pin,
  steps: steps ?? null,
  createdAt: time(createdAtMs),
  until: untilMs === undefined ? null : time(untilMs),
});
