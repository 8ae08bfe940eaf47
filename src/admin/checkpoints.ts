// The checkpoints of a model, and those of exact names: list, register, look, change their metrics, delete.
import type { Hono } from 'hono';
import { z } from 'zod';
import type { Checkpoint } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { Gateway } from '../gateway.ts';
import { identify } from '../registry/arrivals.ts';
import { type Env, parseBody } from '../web.ts';
import { addListing, view } from './listing.ts';

const Step = z.int().min(0);
/** The directory of its files, or that a service has it. */
const what = {
  path: z.string().min(1).optional(),
  hosted: z.literal(true).optional(),
  base: z.string().min(1).optional(),
};
const RegisterStep = z.strictObject({ step: Step, ...what });
const RegisterName = z.strictObject({ name: z.string().min(1), ...what });
type What = z.output<typeof RegisterName>;
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
    const { step, ...rest } = await parseBody(c, RegisterStep);
    const checkpoint = await register(gateway, { name: `${c.req.param('model')}@${step}`, ...rest });
    return c.json(view(gateway, checkpoint), 201);
  });
  admin.get(one, (c) => c.json(view(gateway, find(nameOf(c)))));
  admin.patch(one, async (c) => {
    const { metrics } = await parseBody(c, Patch);
    return c.json(view(gateway, registry.patch(nameOf(c), metrics, 'admin')));
  });
  admin.delete(one, (c) => c.json(view(gateway, registry.remove(nameOf(c)))));

  admin.post('/admin/v1/checkpoints', async (c) => {
    const checkpoint = await register(gateway, await parseBody(c, RegisterName));
    return c.json(view(gateway, checkpoint), 201);
  });
  admin.get('/admin/v1/checkpoints/:name{.+}', (c) => c.json(view(gateway, find(c.req.param('name')))));
  admin.patch('/admin/v1/checkpoints/:name{.+}', async (c) => {
    const { metrics } = await parseBody(c, Patch);
    return c.json(view(gateway, registry.patch(c.req.param('name'), metrics, 'admin')));
  });
  admin.delete('/admin/v1/checkpoints/:name{.+}', (c) => c.json(view(gateway, registry.remove(c.req.param('name')))));
}

function register(gateway: Gateway, { name, path, hosted, base }: What): Promise<Checkpoint> {
  const named = { name, ...(base && { base }) };
  if (path !== undefined && hosted === undefined) return gateway.registry.register({ ...named, path });
  if (hosted !== true || path !== undefined) {
    const message = 'say where its files are (`path`), or that a service has it (`hosted`: true), and not both';
    throw new StepgateError('invalid_request', message, { param: 'path' });
  }
  const { model } = identify(name);
  if (!gateway.config.backends.some(({ models }) => models !== undefined && Object.hasOwn(models, model))) {
    const message = `no backend of the config has ${model} under its \`models\`, so that nobody would serve ${name}: docs/engines.md says how`;
    throw new StepgateError('checkpoint_not_servable', message, { param: 'name' });
  }
  return gateway.registry.registerHosted(named);
}
