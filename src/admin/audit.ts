// The audit log: every request on the admin listener that may change something, whoever was let in to send it, with what was there before and
// what the answer said; and what a signal did, which is no request. Appended to and read, never changed; the oldest entries go.
import type { Context, Hono } from 'hono';
import type { Logger } from 'pino';
import { z } from 'zod';
import { withoutSecrets } from '../access/secret.ts';
import type { Gateway } from '../gateway.ts';
import { asStepgateError, errorBody } from '../openai/error-body.ts';
import type { AuditEntry, AuditRow } from '../registry/store.ts';
import type { Reloads } from '../reload.ts';
import { type Env, parseQuery, wholeNumber } from '../web.ts';

const ENTRIES_MAX = 20_000;
/** Of what was before and after, each. */
const CHARACTERS_MAX = 4_000;
const PAGE_DEFAULT = 100;
const PAGE_MAX = 1_000;
const Query = z.object({
  limit: wholeNumber(1, PAGE_MAX).default(PAGE_DEFAULT),
  before: wholeNumber(1, Number.MAX_SAFE_INTEGER).optional(),
});

/** For every route that is registered after it. */
export function auditActions(admin: Hono<Env>, gateway: Gateway, log: Logger): void {
  admin.use('*', async (c, next) => {
    const { method, url } = c.req;
    if (method === 'GET' || method === 'HEAD') return next();
    const before = method === 'POST' ? undefined : await stateOf(admin, c);
    await next();
    const { pathname, search } = new URL(url);
    const { res } = c;
    const { who } = c.get('caller');
    const write = (after: string) =>
      append({ who, method, path: pathname + search, status: res.status, before, after }, gateway, log);
    const answer = res.clone().text();
    // Its last event says what came of it; who listens is not kept waiting for that.
    if (res.headers.get('content-type')?.startsWith('text/event-stream')) void answer.then(lastEvent).then(write);
    else write(await answer);
  });
}

/** As the reload's route does it, with its status and answer; `signal` stands where the key would. Never rejects: the log has what was wrong. */
export async function reloadBySignal(signal: string, reloads: Reloads, { gateway, log }: SignalParts): Promise<void> {
  const { status, after } = await reloads.reload(signal).then(
    (changes) => ({ status: 200, after: { changes } }),
    (thrown: unknown) => {
      const error = asStepgateError(thrown);
      return { status: error.status, after: errorBody(error) };
    },
  );
  const done = { who: signal, method: 'SIGNAL', path: '/admin/v1/reload', status };
  append({ ...done, before: undefined, after: JSON.stringify(after) }, gateway, log);
}

interface SignalParts {
  readonly gateway: Gateway;
  readonly log: Logger;
}

/** With texts as they came. */
function append(action: Omit<AuditEntry, 'atMs'>, { registry }: Gateway, log: Logger): void {
  const { path, before, after } = action;
  const entry: AuditEntry = {
    ...action,
    atMs: Date.now(),
    path: withoutSecrets(path).slice(0, CHARACTERS_MAX),
    before: before && bounded(before),
    after: after && bounded(after),
  };
  try {
    registry.others.commit([{ kind: 'audited', entry, keep: ENTRIES_MAX }]);
  } catch (error) {
    // It is done, and who asked is told so.
    log.error({ err: error, ...entry }, 'this action could not be written into the audit log');
  }
}

export function addAudit(admin: Hono<Env>, { registry }: Gateway): void {
  admin.get('/admin/v1/audit', (c) => c.json({ data: registry.others.audit(parseQuery(c, Query)).map(view) }));
}

/** What the listener itself says of the thing: by its own route, else in the list that it is in. */
async function stateOf(admin: Hono<Env>, c: Context<Env>): Promise<string | undefined> {
  const { pathname } = new URL(c.req.url);
  const get = async (path: string) => {
    const response = await admin.request(path, {}, c.env);
    if (response.ok && response.headers.get('content-type')?.startsWith('application/json')) return response.text();
    await response.body?.cancel();
    return undefined;
  };
  const own = await get(pathname);
  if (own !== undefined) return own;
  const slash = pathname.lastIndexOf('/');
  const list = await get(pathname.slice(0, slash));
  const rows = list === undefined ? undefined : (JSON.parse(list) as { data?: { id?: string }[] }).data;
  const row = rows?.find(({ id }) => id === pathname.slice(slash + 1));
  return row && JSON.stringify(row);
}

const lastEvent = (events: string): string => events.slice(events.lastIndexOf('data: ') + 'data: '.length).trim();

/** JSON, or nothing. */
function bounded(text: string): string | undefined {
  const clean = withoutSecrets(text);
  if (clean.length > CHARACTERS_MAX) return JSON.stringify({ leftOut: `${clean.length} characters` });
  return clean.startsWith('{') ? clean : undefined;
}

const view = ({ id, atMs, before, after, ...row }: AuditRow) => ({
  id,
  at: new Date(atMs).toISOString(),
  ...row,
  before: before === undefined ? null : JSON.parse(before),
  after: after === undefined ? null : JSON.parse(after),
});
