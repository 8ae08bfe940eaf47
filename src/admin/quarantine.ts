// Adapters under quarantine: what was seen, until when, and the way to have one tried again now.
import type { Hono } from 'hono';
import { z } from 'zod';
import { type AdapterId, as } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { Gateway } from '../gateway.ts';
import { sayQuarantine } from '../router/quarantine.ts';
import { type Env, parseBody } from '../web.ts';

const Post = z.strictObject({ name: z.string().min(1).max(300) });

export function addQuarantine(admin: Hono<Env>, gateway: Gateway): void {
  admin.get('/admin/v1/quarantine', (c) => c.json({ data: rows(gateway) }));
  admin.post('/admin/v1/quarantine/retry', async (c) => {
    const { name } = await parseBody(c, Post);
    const row = rows(gateway).find((one) => one.name === name || one.adapter === name);
    if (row === undefined) {
      const message = `"${name}" is not under quarantine; "stepgate quarantine" lists what is`;
      throw new StepgateError('model_not_found', message, { param: 'name' });
    }
    gateway.retry(as<AdapterId>(row.adapter));
    return c.json(rows(gateway).find(({ adapter }) => adapter === row.adapter) ?? row);
  });
}

function rows(gateway: Gateway) {
  const now = performance.now();
  return [...gateway.router.state.quarantine.values()].map((quarantine) => {
    const { adapter, phase, until, deaths, backend } = quarantine;
    return {
      name: gateway.adapters.nameOf(adapter) ?? adapter,
      adapter,
      state: phase,
      about: sayQuarantine(quarantine),
      backend,
      deaths,
      until: phase === 'kept' ? new Date(Date.now() + until - now).toISOString() : null,
    };
  });
}
