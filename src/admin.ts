// The admin surface, on its own listener: what is known, where it is, and the few things that change it. One file per resource in admin/,
// each thin over the registry and the router.
import { Hono } from 'hono';
import type { Logger } from 'pino';
import { checkNeighbour } from './access/neighbours.ts';
import { addAliases } from './admin/aliases.ts';
import { addAudit, auditActions } from './admin/audit.ts';
import { addBackends } from './admin/backends.ts';
import { addCheckpoints } from './admin/checkpoints.ts';
import { addDeployments } from './admin/deployments.ts';
import { addEngines } from './admin/engines.ts';
import { addEvents } from './admin/events.ts';
import { addKeys } from './admin/keys.ts';
import { addModels } from './admin/models.ts';
import { addPins } from './admin/pins.ts';
import { addQuarantine } from './admin/quarantine.ts';
import { addReload } from './admin/reload.ts';
import { addReservations } from './admin/reservations.ts';
import { addSweeps } from './admin/sweeps.ts';
import type { Engines } from './engines/engines.ts';
import type { Gateway } from './gateway.ts';
import type { Reloads } from './reload.ts';
import { addErrors, type Env } from './web.ts';

interface AdminParts {
  readonly reloads: Reloads;
  readonly engines: Engines;
  /** Where clients connect. */
  readonly publicUrl: () => string;
}

export function createAdmin(gateway: Gateway, { reloads, engines, publicUrl }: AdminParts, log: Logger): Hono<Env> {
  const admin = new Hono<Env>();
  // Before every route, and for every path: there is nothing here for who is no admin.
  admin.use('*', async (c, next) => {
    const { headers, socket } = c.env.incoming;
    c.set('caller', gateway.access.check(headers, 'admin'));
    if (gateway.access.isAdminOpen) await checkNeighbour(socket);
    c.set('bodyBytesMax', gateway.config.limits.bodyBytesMax);
    return next();
  });
  auditActions(admin, gateway, log);
  addBackends(admin, gateway, reloads);
  addEngines(admin, engines, publicUrl);
  addEvents(admin, gateway);
  addModels(admin, gateway);
  addAliases(admin, gateway);
  addPins(admin, gateway);
  addReservations(admin, gateway);
  addQuarantine(admin, gateway);
  addSweeps(admin, gateway);
  addCheckpoints(admin, gateway);
  addDeployments(admin, gateway, publicUrl);
  addKeys(admin, gateway);
  addReload(admin, reloads);
  addAudit(admin, gateway);
  addErrors(admin, log, (path) =>
    path.startsWith('/v1/') ? `models are asked at ${publicUrl()}, not at the admin listener` : undefined,
  );
  return admin;
}
