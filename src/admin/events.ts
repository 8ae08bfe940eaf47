// GET /admin/v1/events: what the gateway does, as it does it. A listener that is too slow loses the oldest.
import type { Context, Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import { StepgateError } from '../errors.ts';
import type { Gateway } from '../gateway.ts';
import type { Happening } from '../journal.ts';
import type { Env } from '../web.ts';

/** Happenings kept for one slow listener. */
const BEHIND_MAX = 1000;
const LISTENERS_MAX = 100;

export function addEvents(admin: Hono<Env>, gateway: Gateway): void {
  admin.get('/admin/v1/events', (c) => events(c, gateway));
}

function events(c: Context, gateway: Gateway): Response {
  if (gateway.journal.listeners >= LISTENERS_MAX)
    throw new StepgateError('no_capacity', `${LISTENERS_MAX} listen already; close those that are not needed`);
  return streamSSE(c, async (stream) => {
    const behind: Happening[] = [];
    let wake = () => {};
    const stop = gateway.journal.listen((happening) => {
      if (behind.length >= BEHIND_MAX) behind.shift();
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
