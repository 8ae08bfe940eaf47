// The engines, the true residency of each adapter on them, and which of them are drained.
import type { Context, Hono } from 'hono';
import { z } from 'zod';
import type { BackendName } from '../domain.ts';
import type { Member } from '../fleet.ts';
import type { Gateway } from '../gateway.ts';
import type { Health } from '../router/health.ts';
import { type Env, parseBody } from '../web.ts';

const Drain = z.strictObject({ force: z.boolean().default(false) });

export function addBackends(admin: Hono<Env>, gateway: Gateway): void {
  const { cordons, fleet } = gateway;
  const one = (c: Context, name: BackendName) => {
    const member = fleet.members.get(name);
    return c.json(member === undefined ? null : view(gateway, name, member));
  };
  admin.get('/admin/v1/backends', (c) =>
    c.json({ data: [...fleet.members].map(([name, member]) => view(gateway, name, member)) }),
  );
  admin.get('/admin/v1/backends/:name', (c) => one(c, cordons.find(c.req.param('name'))));
  admin.post('/admin/v1/backends/:name/drain', async (c) => {
    const { force } = await parseBody(c, Drain, '{}');
    return one(c, cordons.drain(c.req.param('name'), { who: c.get('caller').who, force }));
  });
  admin.delete('/admin/v1/backends/:name/drain', (c) =>
    one(c, cordons.undrain(c.req.param('name'), c.get('caller').who)),
  );
}

function view(gateway: Gateway, name: BackendName, { backend, state, about }: Member) {
  const { catalog } = gateway.registry;
  const known = gateway.router.state.backends.get(name);
  const drain = gateway.cordons.of(name);
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
    kind: backend.kind,
    url: backend.url,
    state,
    about,
    ejected: known === undefined ? null : ejected(known.health),
    /** null: it is not drained. */
    drain:
      drain === undefined ? null : { state: drain.state, who: drain.who, since: new Date(drain.sinceMs).toISOString() },
    /** null: not known yet, or a service, which has none. */
    slots: backend.kind === 'openai-compatible' ? null : (known?.slots ?? null),
    inFlight: known?.inFlight ?? 0,
    adapters,
  };
}

/** Null: it takes requests. */
function ejected({ standing, ejections }: Health) {
  if (standing.kind === 'whole') return null;
  const until =
    standing.kind === 'trial' ? null : new Date(Date.now() + standing.until - performance.now()).toISOString();
  return { trial: standing.kind === 'trial', until, times: ejections };
}
