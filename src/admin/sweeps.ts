// Sweeps: an evaluation over many steps says what it will ask for, and people see how far it is. Those that were noticed are listed too.
import type { Hono } from 'hono';
import { z } from 'zod';
import type { Checkpoint, ModelName } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { Gateway } from '../gateway.ts';
import type { Sweep } from '../sweeps/sweep.ts';
import { TTL_MS } from '../sweeps.ts';
import { type Env, parseBody } from '../web.ts';
import { knownModel } from './models.ts';

const Step = z.int().min(0);
const Count = z.int().min(1).max(1_000_000_000);
const STEPS_MAX = 10_000;
const Range = z.strictObject({ from: Step, to: Step, every: z.int().min(1).default(1) });
const Post = z.strictObject({
  model: z.string().min(1),
  /** In the order in which they will be asked for. A range takes those that are there. */
  steps: z.union([z.array(Step).min(1).max(STEPS_MAX), Range]),
  /** For each step, or one number for each of `steps`. */
  requests: z.union([Count, z.array(Count).max(STEPS_MAX)]),
  owner: z.string().min(1).max(200).optional(),
  ttlMs: z.int().min(1_000).default(TTL_MS),
});

export function addSweeps(admin: Hono<Env>, gateway: Gateway): void {
  const { sweeps } = gateway;
  admin.get('/admin/v1/sweeps', (c) => c.json({ data: sweeps.list().map((sweep) => view(gateway, sweep)) }));
  admin.post('/admin/v1/sweeps', async (c) => {
    const { model: name, steps, requests, owner, ttlMs } = await parseBody(c, Post);
    const model = knownModel(gateway, name);
    const checkpoints = chosen(gateway, model, steps);
    if (Array.isArray(requests) && requests.length !== checkpoints.length) {
      const message = `\`requests\` has ${requests.length} numbers for ${checkpoints.length} steps; send one for each, or one number for all`;
      throw new StepgateError('invalid_request', message, { param: 'requests' });
    }
    const expected = checkpoints.map((checkpoint, at) => ({
      checkpoint,
      requests: Array.isArray(requests) ? (requests[at] ?? 0) : requests,
    }));
    return c.json(view(gateway, sweeps.announce({ model, steps: expected, owner, ttlMs })), 201);
  });
  admin.get('/admin/v1/sweeps/:id', (c) => c.json(view(gateway, known(gateway, c.req.param('id')))));
  admin.delete('/admin/v1/sweeps/:id', (c) => {
    const sweep = known(gateway, c.req.param('id'));
    sweeps.withdraw(sweep);
    return c.json(view(gateway, sweep));
  });
}

function known(gateway: Gateway, id: string): Sweep {
  const sweep = gateway.sweeps.find(id);
  if (sweep !== undefined) return sweep;
  throw new StepgateError('model_not_found', `no sweep "${id}" is known; GET /admin/v1/sweeps lists those that are`);
}

/** The checkpoints of these steps. @throws StepgateError that names the steps which cannot be asked for */
function chosen(gateway: Gateway, model: ModelName, steps: z.output<typeof Post>['steps']): Checkpoint[] {
  const all = gateway.registry.catalog.checkpoints(model);
  const servable = new Map(all.flatMap((one) => (one.state.kind === 'servable' ? [[one.step, one] as const] : [])));
  if (!Array.isArray(steps)) {
    const { from, to, every } = steps;
    const inRange = [...servable.values()].filter(
      ({ step }) => step !== undefined && step >= from && step <= to && (step - from) % every === 0,
    );
    if (inRange.length > 0) return inRange;
    const message = `${model} has no step that can be asked for from ${from} to ${to}${every > 1 ? ` by ${every}` : ''}; "stepgate ls ${model}" lists its steps`;
    throw new StepgateError('model_not_found', message, { param: 'steps' });
  }
  const there = new Set(all.map(({ step }) => step));
  const wanted = [...new Set(steps)];
  const absent = wanted.filter((step) => !there.has(step));
  const refused = wanted.filter((step) => there.has(step) && !servable.has(step));
  if (absent.length + refused.length > 0) {
    const problems = [
      ...(absent.length > 0 ? [`has no step ${few(absent)}`] : []),
      ...(refused.length > 0 ? [`cannot serve step ${few(refused)} (deleted, or not servable)`] : []),
    ];
    const message = `${model} ${problems.join(' and ')}; leave them out, or see "stepgate ls ${model}"`;
    throw new StepgateError(absent.length > 0 ? 'model_not_found' : 'checkpoint_not_servable', message, {
      param: 'steps',
    });
  }
  return wanted.flatMap((step) => servable.get(step) ?? []);
}

const FEW = 10;
const few = (steps: readonly number[]): string =>
  steps.length <= FEW ? steps.join(', ') : `${steps.slice(0, FEW).join(', ')} and ${steps.length - FEW} more`;

function view(gateway: Gateway, sweep: Sweep) {
  const now = performance.now();
  const { id, model, owner, origin, ttlMs } = sweep.options;
  const waiting = waitingByStep(gateway, sweep);
  const steps = [...sweep.rows.values()].map((row) => ({
    step: row.step,
    name: row.name,
    expected: sweep.expectedOf(row) ?? null,
    done: row.done,
    failed: row.failed,
    running: row.inFlight - (waiting.get(row.step) ?? 0),
    waiting: waiting.get(row.step) ?? 0,
  }));
  const sum = (field: 'expected' | 'done' | 'failed' | 'running' | 'waiting') =>
    steps.reduce((total, step) => total + (step[field] ?? 0), 0);
  const etaMs = sweep.etaMs(now);
  return {
    id,
    model,
    owner: owner ?? null,
    origin,
    state: sweep.state,
    createdAt: new Date(sweep.createdAtMs).toISOString(),
    ttlMs,
    expected: sum('expected'),
    done: sum('done'),
    failed: sum('failed'),
    running: sum('running'),
    waiting: sum('waiting'),
    stepsDone: steps.filter(({ done, expected }) => expected !== null && done >= expected).length,
    perSecond: Math.round(sweep.perSecond(now) * 100) / 100,
    etaMs: etaMs === undefined ? null : Math.round(etaMs),
    steps,
  };
}

/** Requests that have no slot yet. */
function waitingByStep({ sweeps, router }: Gateway, sweep: Sweep): ReadonlyMap<number, number> {
  const waiting = new Map<number, number>();
  for (const { ticket, row } of sweeps.ticketsOf(sweep)) {
    if (router.state.tickets.get(ticket)?.place.kind !== 'running')
      waiting.set(row.step, (waiting.get(row.step) ?? 0) + 1);
  }
  return waiting;
}
