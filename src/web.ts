// What the two Hono apps and their routes share: the shape of errors, bodies and queries that are checked, methods that do not fit. No route of its own.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { HttpBindings } from '@hono/node-server';
import type { Context, Hono } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { Caller } from './access/caller.ts';
import { StepgateError } from './errors.ts';
import { asStepgateError, errorBody, errorHeaders } from './openai/error-body.ts';
import { readBody } from './openai/read-body.ts';

export type Env = { Bindings: HttpBindings; Variables: { caller: Caller; bodyBytesMax: number } };

/** The last resorts of an app. `meant`: what somebody may have wanted who asked for a path that it does not have. */
export function addErrors(app: Hono<Env>, log: Logger, meant: (path: string) => string | undefined): void {
  app.notFound((c) => {
    const { method, path } = c.req;
    throw new StepgateError(
      'route_not_found',
      `no route ${method} ${path}: ${meant(path) ?? 'docs/api.md lists them'}`,
    );
  });
  app.onError((thrown, c) => {
    const error = asStepgateError(thrown);
    if (error.code === 'internal_error') log.error({ err: thrown }, 'bug');
    return c.body(JSON.stringify(errorBody(error)), error.status as ContentfulStatusCode, errorHeaders(error));
  });
}

const SANE_ID = /^[\w.:-]{1,128}$/;

/** The caller's own, else a new one. */
export function requestIdOf({ headers }: IncomingMessage): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && SANE_ID.test(given) ? given : randomUUID();
}

export function wrongMethod(c: Context, allowed: string): never {
  c.header('allow', allowed);
  throw new StepgateError('method_not_allowed', `${c.req.path} takes ${allowed}, not ${c.req.method}`);
}

/** Under the app's `bodyBytesMax`; an empty body stands for `empty`. @throws StepgateError body_too_large, or with the first field at fault */
export async function parseBody<T extends z.ZodType>(c: Context<Env>, schema: T, empty = ''): Promise<z.output<T>> {
  const { incoming } = c.env;
  const bytes = await readBody(incoming, c.get('bodyBytesMax')).finally(() => incoming.resume());
  let body: unknown;
  try {
    body = JSON.parse(bytes.toString('utf8') || empty);
  } catch {
    throw new StepgateError('invalid_json', 'the body is not JSON');
  }
  return checked(body, schema);
}

/** @throws StepgateError with the first parameter at fault */
export const parseQuery = <T extends z.ZodType>(c: Context<Env>, schema: T): z.output<T> =>
  checked(c.req.query(), schema);

/** Of a query. */
export function wholeNumber(least: number, most: number) {
  const message = `a whole number from ${least} to ${most}`;
  const range = z.number().min(least, message).max(most, message);
  return z
    .string()
    .regex(/^[0-9]{1,15}$/, message)
    .transform(Number)
    .pipe(range);
}

/** Of a query; left out: false. */
export const truth = z
  .enum(['true', 'false'], 'true or false')
  .default('false')
  .transform((word) => word === 'true');

function checked<T extends z.ZodType>(given: unknown, schema: T): z.output<T> {
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const param = issue?.path.join('.');
  throw new StepgateError(
    'invalid_request',
    `${param === '' ? 'the body' : `\`${param}\``}: ${issue?.message ?? 'invalid'}`,
    { ...(param && { param }) },
  );
}
