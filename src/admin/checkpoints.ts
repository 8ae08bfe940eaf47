// The checkpoints of a model, and those of exact names: list, register, look, change their metrics, delete.
import type { Hono } from 'hono';
import { z } from 'zod';
import type { Checkpoint } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { Gateway } from '../gateway.ts';
import { type Env, parseBody } from '../web.ts';
import { addListing, view } from './listing.ts';
import { from, register } from './registering.ts';

const Step = z.int().min(0);
const RegisterStep = z.strictObject({ step: Step, ...from });
const RegisterName = z.strictObject({ name: z.string().min(1), ...from });
/** `null` takes a metric away. */
const Patch = z.strictObject({ metrics: z.record(z.string(), z.number().nullable()) });

export function addCheckpoints(admin: Hono<Env>, gateway: Gateway): void {
  const { registry } = gateway;
  const one = '/admin/v1/models/:model/checkpoints/:step';
  const nameOf = (c: { req: { param(key: string): string | undefined } }) =>
    `${c.req.param('model')}@${c.req.param('step')}`;
  const find = (name: string): Checkpoint => {
    const checkpoint = registry.catalog.find(name);
    if (checkpoint !== undefined) return checkpoint;
    throw new StepgateError('model_not_found', `no checkpoint ${name} is known; "stepgate ls" lists them`);
  };

  addListing(admin, gateway);
  admin.post('/admin/v1/models/:model/checkpoints', async (c) => {
    const { step, ...where } = await parseBody(c, RegisterStep);
    return register(c, gateway, { name: `${c.req.param('model')}@${step}`, ...where });
  });
  admin.get(one, (c) => c.json(view(gateway, find(nameOf(c)))));
  admin.patch(one, async (c) => {
    const { metrics } = await parseBody(c, Patch);
    return c.json(view(gateway, registry.patch(nameOf(c), metrics, 'admin')));
  });
  admin.delete(one, (c) => c.json(view(gateway, registry.remove(nameOf(c)))));

  admin.post('/admin/v1/checkpoints', async (c) => register(c, gateway, await parseBody(c, RegisterName)));
  admin.get('/admin/v1/checkpoints/:name{.+}', (c) => c.json(view(gateway, find(c.req.param('name')))));
  admin.patch('/admin/v1/checkpoints/:name{.+}', async (c) => {
    const { metrics } = await parseBody(c, Patch);
    return c.json(view(gateway, registry.patch(c.req.param('name'), metrics, 'admin')));
  });
  admin.delete('/admin/v1/checkpoints/:name{.+}', (c) => c.json(view(gateway, registry.remove(c.req.param('name')))));
}
