// What the admin API says of deployments, checked: for the commands that show them.
import { z } from 'zod';

/** Of a deployment. */
export const build = z.object({
  name: z.string(),
  build: z.number(),
  target: z.string(),
  generation: z.record(z.string(), z.unknown()),
  template: z.string().nullable(),
  chat: z.boolean(),
  createdAt: z.string(),
  by: z.string(),
  copyOf: z.number().nullable(),
});
/** The build that counts, and where it leads now. */
export const deployment = build.extend({
  /** Where it is asked. */
  endpoint: z.string(),
  inputs: z.array(z.string()),
  leadsTo: z.string().nullable(),
  problem: z.string().nullable(),
  warnings: z.array(z.string()),
});
export const builds = z.object({ data: z.array(build) });
export const deployments = z.object({ data: z.array(deployment) });
