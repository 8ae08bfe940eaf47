// GET /admin/v1/backends: the engines, and the true residency of each adapter on them.
import type { Hono } from 'hono';
import type { Gateway } from '../gateway.ts';
import type { Env } from '../web.ts';

export function addBackends(admin: Hono<Env>, gateway: Gateway): void {
  admin.get('/admin/v1/backends', (c) => c.json({ data: backends(gateway) }));
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
