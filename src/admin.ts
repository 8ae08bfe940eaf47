// The admin surface, on its own listener: what is known, where it is, and the few things that change it. Thin over the registry and the router.
import { type Context, Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import type { Logger } from 'pino';
import { z } from 'zod';
import { addErrors, type Env, parseBody } from './app.ts';
import type { BackendName, Checkpoint, ModelName } from './domain.ts';
import { StepgateError } from './errors.ts';
import type { Gateway } from './gateway.ts';
import type { Happening } from './journal.ts';

/** Happenings kept for a slow listener of GET /admin/v1/events; it loses the oldest beyond that. */
const EVENTS_BEHIND_MAX = 1000;

export function createAdmin(gateway: Gateway, log: Logger): Hono<Env> {
  const admin = new Hono<Env>();
  admin.get('/admin/v1/backends', (c) => c.json({ data: backends(gateway) }));
  admin.get('/admin/v1/events', (c) => events(c, gateway));
  addModels(admin, gateway);
  addCheckpoints(admin, gateway);
  addErrors(admin, log);
  return admin;
}

function backends(gateway: Gateway) {
  const { catalog } = gateway.registry;
  return [...gateway.fleet.members].map(([name, { backend, state, about }]) => {
    const known = gateway.router.state.backends.get(name);
    const adapters = [...(known?.held.values() ?? [])].map((held) => {
      const checkpoint = catalog.find(gateway.adapters.nameOf(held.adapter) ?? held.adapter);
      return {
        adapter: held.adapter,
        name: checkpoint?.name ?? held.adapter,
        model: checkpoint?.model ?? null,
        step: checkpoint?.step ?? null,
        revision: checkpoint?.revision ?? null,
        state: held.residency.state,
        inFlight: held.leases,
      };
    });
    return {
      name,
      url: backend.url,
      state,
      about,
      slots: known?.slots ?? null,
      inFlight: known?.inFlight ?? 0,
      adapters,
    };
  });
}

function residents(gateway: Gateway, { adapter }: Checkpoint): BackendName[] {
  if (adapter === undefined) return [];
  return [...gateway.router.state.backends.values()]
    .filter((backend) => backend.held.get(adapter.id)?.residency.state === 'ready')
    .map(({ name }) => name);
}

function view(gateway: Gateway, checkpoint: Checkpoint) {
  const { adapter, state } = checkpoint;
  return {
    id: checkpoint.id,
    name: checkpoint.name,
    model: checkpoint.model,
    step: checkpoint.step ?? null,
    revision: checkpoint.revision,
    state: state.kind,
    reasons: state.kind === 'unservable' ? state.reasons : [],
    source: checkpoint.source,
    bytes: adapter?.bytes ?? null,
    rank: adapter?.rank ?? null,
    digest: adapter?.digest ?? null,
    base: gateway.adapters.baseOf(checkpoint)?.name ?? null,
    createdAt: new Date(checkpoint.createdAtMs).toISOString(),
    resident: residents(gateway, checkpoint),
    latest: gateway.registry.catalog.latest(checkpoint.model)?.id === checkpoint.id,
  };
}

function addModels(admin: Hono<Env>, gateway: Gateway): void {
  const { catalog } = gateway.registry;
  admin.get('/admin/v1/models', (c) => {
    const data = catalog.models().map((name) => {
      const settings = catalog.settings(name);
      const checkpoints = catalog.checkpoints(name);
      return {
        name,
        base: settings?.base ?? null,
        latest: catalog.latest(name)?.name ?? null,
        policy: settings?.latest ?? 'ready',
        checkpoints: checkpoints.filter(({ state }) => state.kind !== 'deleted').length,
        servable: checkpoints.filter(({ state }) => state.kind === 'servable').length,
      };
    });
    return c.json({ data });
  });
}

const Step = z.int().min(0);
const RegisterStep = z.strictObject({ step: Step, path: z.string().min(1), base: z.string().min(1).optional() });
const RegisterName = z.strictObject({
  name: z.string().min(1),
  path: z.string().min(1),
  base: z.string().min(1).optional(),
});

function addCheckpoints(admin: Hono<Env>, gateway: Gateway): void {
  const { registry } = gateway;
  const one = '/admin/v1/models/:model/checkpoints/:step';
  const find = (name: string): Checkpoint => {
    const checkpoint = registry.catalog.find(name);
    if (checkpoint === undefined)
      throw new StepgateError('model_not_found', `no checkpoint ${name} is known; "stepgate ls" lists them`);
    return checkpoint;
  };

  admin.get('/admin/v1/models/:model/checkpoints', (c) => {
    const model = c.req.param('model') as ModelName;
    if (!registry.catalog.models().includes(model))
      throw new StepgateError('model_not_found', `no model ${model} is known; "stepgate ls" lists them`);
    return c.json({ data: registry.catalog.checkpoints(model).map((checkpoint) => view(gateway, checkpoint)) });
  });
  admin.post('/admin/v1/models/:model/checkpoints', async (c) => {
    const { step, path, base } = await parseBody(c, RegisterStep);
    const checkpoint = await registry.register({
      name: `${c.req.param('model')}@${step}`,
      path,
      ...(base && { base }),
    });
    return c.json(view(gateway, checkpoint), 201);
  });
  admin.get(one, (c) => c.json(view(gateway, find(`${c.req.param('model')}@${c.req.param('step')}`))));
  admin.delete(one, (c) => c.json(view(gateway, registry.remove(`${c.req.param('model')}@${c.req.param('step')}`))));

  admin.post('/admin/v1/checkpoints', async (c) => {
    const { name, path, base } = await parseBody(c, RegisterName);
    const checkpoint = await registry.register({ name, path, ...(base && { base }) });
    return c.json(view(gateway, checkpoint), 201);
  });
  admin.get('/admin/v1/checkpoints/:name{.+}', (c) => c.json(view(gateway, find(c.req.param('name')))));
  admin.delete('/admin/v1/checkpoints/:name{.+}', (c) => c.json(view(gateway, registry.remove(c.req.param('name')))));
}

function events(c: Context, gateway: Gateway): Response {
  return streamSSE(c, async (stream) => {
    const behind: Happening[] = [];
    let wake = () => {};
    const stop = gateway.journal.listen((happening) => {
      if (behind.length >= EVENTS_BEHIND_MAX) behind.shift();
      behind.push(happening);
      wake();
    });
    stream.onAbort(() => {
      stop();
      wake();
    });
    await stream.write(': listening\n\n');
    while (!stream.aborted) {
      const happening = behind.shift();
      if (happening !== undefined) await stream.writeSSE({ data: JSON.stringify(happening) });
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  });
}
