// GET /admin/v1/models, and what every resource of one model shares.
import type { Hono } from 'hono';
import type { ModelName } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { Gateway } from '../gateway.ts';
import type { Env } from '../web.ts';

export function addModels(admin: Hono<Env>, gateway: Gateway): void {
  const { catalog } = gateway.registry;
  admin.get('/admin/v1/models', (c) => {
    const data = catalog.models().map((name) => {
      const settings = catalog.settings(name);
      const checkpoints = catalog.checkpoints(name);
      return {
        name,
        base: settings?.base ?? null,
        latest: catalog.latest(name)?.name ?? null,
        best: catalog.best(name)?.name ?? null,
        policy: settings?.latest ?? 'ready',
        checkpoints: checkpoints.filter(({ state }) => state.kind !== 'deleted').length,
        servable: checkpoints.filter(({ state }) => state.kind === 'servable').length,
      };
    });
    return c.json({ data });
  });
}

/** @throws StepgateError model_not_found */
export function knownModel(gateway: Gateway, name: string): ModelName {
  if (gateway.registry.catalog.has(name)) return name as ModelName;
  throw new StepgateError('model_not_found', `no model ${name} is known; "stepgate ls" lists them`);
}
