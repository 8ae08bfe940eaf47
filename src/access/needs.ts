// Which route of the public listener needs what: the whole table, and the middleware that holds every route to it. A route that is not here
// answers nobody without a key. The routes of engines are checked where they are taken (app.ts), by the same `Access.check`.
import type { Hono, MiddlewareHandler } from 'hono';
import { matchedRoutes } from 'hono/route';
import type { Env } from '../web.ts';
import type { Access } from './access.ts';
import { Caller, type Need } from './caller.ts';

/** `open`: answered to anybody. Keys as `METHOD path`, the path as it is registered. */
export const NEEDS: Readonly<Record<string, Need | 'open'>> = {
  'GET /health': 'open',
  // To who has no key it says yes or no, and nothing of the engines.
  'GET /ready': 'open',
  'GET /metrics': 'any',
  'GET /v1/models': 'any',
  'GET /v1/models/:id{.+}': 'any',
  'DELETE /v1/models/:id{.+}': 'publish',
  'GET /v1/fine_tuning/jobs/:job{.+}/checkpoints': 'any',
  'GET /v1/responses/:id': 'use',
  'POST /v1/responses/:id/cancel': 'use',
  'POST /v1/load_lora_adapter': 'publish',
  'POST /v1/unload_lora_adapter': 'publish',
  'POST /load_lora_adapter': 'publish',
  'POST /skyrl/v1/load_lora_adapter': 'publish',
  'GET /server_info': 'any',
  'POST /pause': 'publish',
  'POST /resume': 'publish',
};

/** For every route that is registered after it. `isOpen`: a route that the config opens besides, now. */
export function checkNeeds(app: Hono<Env>, access: Access, isOpen: (name: string) => boolean): void {
  const check: MiddlewareHandler<Env> = (c, next) => {
    const route = matchedRoutes(c).find(({ handler }) => handler !== check);
    const name = route === undefined ? '' : `${route.method} ${route.path}`;
    const need = isOpen(name) ? 'open' : (NEEDS[name] ?? 'any');
    c.set('caller', need === 'open' ? Caller.anybody('') : access.check(c.env.incoming.headers, need));
    return next();
  };
  app.use('*', check);
}
