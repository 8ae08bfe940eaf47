// Deployments: made, changed, listed with where they lead, rolled back and removed; and the builds of one.
import type { Hono } from 'hono';
import { z } from 'zod';
import { warningsOf } from '../deployments/generation.ts';
import { inputsOf } from '../deployments/translation.ts';
import type { Gateway } from '../gateway.ts';
import type { Build } from '../registry/store.ts';
import { type Env, parseBody } from '../web.ts';

const GENERATION_CHARACTERS_MAX = 10_000;
const Generation = z
  .record(z.string(), z.unknown(), 'must be an object, such as {"temperature": 0.2}')
  .refine((value) => JSON.stringify(value).length <= GENERATION_CHARACTERS_MAX, 'is too long');
/** Who changes it, for the list of builds; left out: the key's name. */
const By = z.string().trim().min(1).max(100).optional();
const Template = z.string().max(100_000).nullable();
/** What is left out stays as it is. */
const Patch = z.strictObject({
  target: z.string().min(1).max(300).optional(),
  generation: Generation.optional(),
  template: Template.optional(),
  chat: z.boolean().optional(),
  by: By,
});
/** What is left out is as in a new one. */
const Put = z.strictObject({
  target: z.string().min(1).max(300),
  generation: Generation.default({}),
  template: Template.default(null),
  chat: z.boolean().default(false),
  by: By,
});
const Rollback = z.strictObject({ build: z.int().min(1), by: By });

export function addDeployments(
  admin: Hono<Env>,
  { deployments, registry: { catalog } }: Gateway,
  publicUrl: () => string,
): void {
  const one = '/admin/v1/deployments/:name';
  const view = (build: Build) => {
    const answer = deployments.resolve(build);
    const endpoint = `${publicUrl()}/v1/deployments/${build.deployment}/predict`;
    const more = { endpoint, inputs: inputsOf(build), ...viewBuild(build) };
    const warnings = warningsOf(build.generation);
    switch (answer.kind) {
      case 'refused':
        return { ...more, leadsTo: null, problem: answer.message, warnings };
      case 'base':
        return { ...more, leadsTo: answer.base.name, problem: null, warnings };
      case 'checkpoint': {
        const { name, base } = answer.checkpoint;
        const problem =
          base === undefined || catalog.hasBase(base)
            ? null
            : `No engine serves "${base}" now, the base of ${name}, to which the deployment "${build.deployment}" leads.`;
        return { ...more, leadsTo: name, problem, warnings };
      }
    }
  };
  admin.get('/admin/v1/deployments', (c) => c.json({ data: deployments.all().map(view) }));
  admin.get(one, (c) => c.json(view(deployments.get(c.req.param('name')))));
  admin.put(one, async (c) => {
    const { by = c.get('caller').who, ...wish } = await parseBody(c, Put);
    return c.json(view(deployments.change(c.req.param('name'), wish, by)));
  });
  admin.patch(one, async (c) => {
    const { by = c.get('caller').who, ...wish } = await parseBody(c, Patch);
    return c.json(view(deployments.change(c.req.param('name'), wish, by)));
  });
  admin.delete(one, (c) => {
    const { name } = c.req.param();
    deployments.remove(name, c.get('caller').who);
    return c.json({ name, removed: true });
  });
  admin.get(`${one}/builds`, (c) => c.json({ data: deployments.builds(c.req.param('name')).map(viewBuild) }));
  admin.post(`${one}/rollback`, async (c) => {
    const { build, by = c.get('caller').who } = await parseBody(c, Rollback);
    return c.json(view(deployments.rollback(c.req.param('name'), build, by)));
  });
}

const viewBuild = ({ deployment, template, copyOf, createdAtMs, ...build }: Build) => ({
  name: deployment,
  ...build,
  template: template ?? null,
  copyOf: copyOf ?? null,
  createdAt: new Date(createdAtMs).toISOString(),
});
