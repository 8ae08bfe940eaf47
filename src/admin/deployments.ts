// Deployments: made, changed, listed with where they lead, rolled back and removed; and the builds of one.
import type { Hono } from 'hono';
import { z } from 'zod';
import { warningsOf } from '../deployments/generation.ts';
import type { Gateway } from '../gateway.ts';
import type { Build } from '../registry/store.ts';
import { type Env, parseBody } from '../web.ts';

const GENERATION_CHARACTERS_MAX = 10_000;
const Generation = z
  .record(z.string(), z.unknown(), 'must be an object, such as {"temperature": 0.2}')
  .refine((value) => JSON.stringify(value).length <= GENERATION_CHARACTERS_MAX, 'is too long');
const Template = z.string().max(100_000).nullable();
/** What is left out stays as it is. */
const Patch = z.strictObject({
  target: z.string().min(1).max(300).optional(),
  generation: Generation.optional(),
  template: Template.optional(),
  chat: z.boolean().optional(),
});
/** What is left out is as in a new one. */
const Put = z.strictObject({
  target: z.string().min(1).max(300),
  generation: Generation.default({}),
  template: Template.default(null),
  chat: z.boolean().default(false),
});
const Rollback = z.strictObject({ build: z.int().min(1) });

export function addDeployments(admin: Hono<Env>, { deployments }: Gateway): void {
  const one = '/admin/v1/deployments/:name';
  const view = (build: Build) => {
    const answer = deployments.resolve(build);
    const leadsTo =
      answer.kind === 'refused' ? null : answer.kind === 'base' ? answer.base.name : answer.checkpoint.name;
    const problem = answer.kind === 'refused' ? answer.message : null;
    return { ...viewBuild(build), leadsTo, problem, warnings: warningsOf(build.generation) };
  };
  admin.get('/admin/v1/deployments', (c) => c.json({ data: deployments.all().map(view) }));
  admin.get(one, (c) => c.json(view(deployments.get(c.req.param('name')))));
  admin.put(one, async (c) => {
    const wish = await parseBody(c, Put);
    return c.json(view(deployments.change(c.req.param('name'), wish, c.get('caller').who)));
  });
  admin.patch(one, async (c) => {
    const wish = await parseBody(c, Patch);
    return c.json(view(deployments.change(c.req.param('name'), wish, c.get('caller').who)));
  });
  admin.delete(one, (c) => {
    const { name } = c.req.param();
    deployments.remove(name, c.get('caller').who);
    return c.json({ name, removed: true });
  });
  admin.get(`${one}/builds`, (c) => c.json({ data: deployments.builds(c.req.param('name')).map(viewBuild) }));
  admin.post(`${one}/rollback`, async (c) => {
    const { build } = await parseBody(c, Rollback);
    return c.json(view(deployments.rollback(c.req.param('name'), build, c.get('caller').who)));
  });
}

const viewBuild = ({ deployment, template, copyOf, createdAtMs, ...build }: Build) => ({
  name: deployment,
  ...build,
  template: template ?? null,
  copyOf: copyOf ?? null,
  createdAt: new Date(createdAtMs).toISOString(),
});
