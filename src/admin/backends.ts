// The engines, the true residency of each adapter on them, which of them are drained, and those that are added here beside the config's.
import type { Context, Hono } from 'hono';
import { z } from 'zod';
import { addedBackend, frozenBackend } from '../config-backends.ts';
import type { BackendName } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { Member } from '../fleet.ts';
import type { Gateway } from '../gateway.ts';
import type { JoinedChange } from '../joined.ts';
import type { Reloads } from '../reload.ts';
import type { Health } from '../router/health.ts';
import { type Env, parseBody, parseQuery, truth } from '../web.ts';

const Remove = z.object({ force: truth });
const Drain = z.strictObject({ force: z.boolean().default(false) });

export function addBackends(admin: Hono<Env>, gateway: Gateway, reloads: Reloads): void {
  const { cordons, fleet } = gateway;
  const one = (c: Context, name: BackendName) => {
    const member = fleet.members.get(name);
    return c.json(member === undefined ? null : view(name, member));
  };
  const view = (name: BackendName, member: Member) => ({
    ...viewOf(gateway, name, member),
    from: reloads.joined.originOf(name),
  });
  admin.get('/admin/v1/backends', (c) =>
    c.json({ data: [...fleet.members].map(([name, member]) => view(name, member)) }),
  );
  addJoining(admin, gateway, { joined: reloads.joined, rejoin: (change) => reloads.rejoin(change) });
  admin.get('/admin/v1/backends/:name', (c) => one(c, cordons.find(c.req.param('name'))));
  admin.post('/admin/v1/backends/:name/drain', async (c) => {
    const { force } = await parseBody(c, Drain, '{}');
    return one(c, cordons.drain(c.req.param('name'), { who: c.get('caller').who, force }));
  });
  admin.delete('/admin/v1/backends/:name/drain', (c) =>
    one(c, cordons.undrain(c.req.param('name'), c.get('caller').who)),
  );
}

/** Rows as in the config, kept in the database. */
function addJoining(admin: Hono<Env>, { cordons, fleet }: Gateway, { joined, rejoin }: Joining): void {
  admin.post('/admin/v1/backends', async (c) => {
    const config = frozenBackend(await parseBody(c, addedBackend));
    await rejoin({
      kind: 'add',
      backend: { config, origin: 'api', who: c.get('caller').who, sinceMs: Date.now() },
    });
    const { state, about } = fleet.members.get(config.name) ?? {};
    return c.json({ name: config.name, url: config.url, state, about, from: 'api' }, 201);
  });
  admin.delete('/admin/v1/backends/:name', async (c) => {
    const name = cordons.find(c.req.param('name'));
    const origin = joined.originOf(name);
    if (origin !== 'api') throw new StepgateError('conflict', elsewhere(name, origin), { param: 'name' });
    if (!parseQuery(c, Remove).force) {
      cordons.drain(name, { who: c.get('caller').who, force: true });
      await cordons.untilDrained(name);
      if (cordons.of(name) === undefined && fleet.members.has(name))
        throw new StepgateError('conflict', `"${name}" was taken back while it was drained: it stays`);
    }
    if (joined.originOf(name) === 'api') await rejoin({ kind: 'remove', name });
    return c.json({ name, removed: true });
  });
}

interface Joining {
  readonly joined: Reloads['joined'];
  readonly rejoin: (change: JoinedChange) => Promise<void>;
}

const elsewhere = (name: BackendName, origin: 'config' | 'engine'): string =>
  origin === 'config'
    ? `"${name}" is in the config: take it out there, then "stepgate reload"`
    : `"${name}" is an engine that the gateway started: "stepgate down ${name}" ends it`;

function viewOf(gateway: Gateway, name: BackendName, { backend, state, about }: Member) {
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
