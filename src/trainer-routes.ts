// vLLM's own routes for adapters, so that a trainer that loads into an engine registers here without a change: the same fields, statuses,
// words and shape of errors. Loading registers, unloading deletes. It decides nothing else: the registry does.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Context, Hono } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { Logger } from 'pino';
import type { Caller } from './access/caller.ts';
import { checkName } from './access/models.ts';
import { isLoopback } from './config.ts';
import { StepgateError } from './errors.ts';
import type { Gateway } from './gateway.ts';
import { asStepgateError } from './openai/error-body.ts';
import { readBody } from './openai/read-body.ts';
import { identify } from './registry/arrivals.ts';
import type { Catalog } from './registry/catalog.ts';
import { CONFIG_FILE } from './registry/inspect.ts';
import { parseVersion } from './registry/name.ts';
import { type Env, wrongMethod } from './web.ts';

interface Load {
  readonly name: string;
  readonly path: string;
  /** Whether other weights may take the place of those that have the name. */
  readonly inPlace: boolean;
}

const LORAS_MAX = 1_000_000;
/** The largest --max-lora-rank that vLLM knows, of an engine whose own is not said. */
const VLLM_RANK_MAX = 512;

/** A refusal in vLLM's shape. */
class Refusal extends Error {
  readonly status: number;
  readonly type: string;

  constructor(status: number, type: string, message: string) {
    super(message);
    this.status = status;
    this.type = type;
  }
}

export function addTrainerRoutes(app: Hono<Env>, gateway: Gateway, log: Logger): void {
  const route = (path: string, answer: (c: Context<Env>) => Promise<Response>) => {
    app.post(path, (c) => answer(c).catch((thrown: unknown) => refuse(c, thrown, log)));
    app.all(path, (c) => wrongMethod(c, 'POST'));
  };
  route('/v1/load_lora_adapter', async (c) => {
    const { name } = await load(c, gateway, await readLoad(c, gateway));
    return c.text(`Success: LoRA adapter '${name}' added successfully.`);
  });
  route('/v1/unload_lora_adapter', async (c) => {
    const name = textField(await readFields(c, gateway), 'lora_name');
    if (name === '')
      throw new Refusal(400, 'InvalidUserInput', "'lora_name' needs to be provided to unload a LoRA adapter.");
    unload(gateway, name, c.get('caller'));
    return c.text(`Success: LoRA adapter '${name}' removed successfully.`);
  });
  // prime-rl's and SkyRL's own servers have these: one name for ever, other weights under it after each step.
  route('/load_lora_adapter', async (c) => {
    await load(c, gateway, { ...(await readLoad(c, gateway)), inPlace: true });
    return c.json({ status: 'ok' });
  });
  route('/skyrl/v1/load_lora_adapter', async (c) => {
    const { name, revision } = await load(c, gateway, { ...(await readLoad(c, gateway)), inPlace: true });
    return c.json({ status: 'ok', lora_name: name, lora_int_id: revision });
  });
  // TRL asks the first before it loads anything, and the others around each load. Nothing stops and nothing has to: other weights have another name.
  app.get('/server_info', (c) => c.json({ vllm_config: vllmConfig(gateway) }));
  app.all('/server_info', (c) => wrongMethod(c, 'GET'));
  for (const path of ['/pause', '/resume']) route(path, async (c) => c.json({ status: 'running' }));
}

/**
 * As much of vLLM's `/server_info` as trainers decide by. TRL (1.16) refuses a server whose `max_loras` is less than the versions that it may name at
 * once: a vLLM drops one without a word. Here what had to make room is loaded again, so there is no such number.
 */
function vllmConfig({ router }: Gateway): object {
  const ranks = Array.from(router.state.backends.values(), ({ rankMax }) => rankMax ?? VLLM_RANK_MAX);
  return {
    lora_config: { max_loras: LORAS_MAX, max_lora_rank: ranks.length > 0 ? Math.max(...ranks) : VLLM_RANK_MAX },
    parallel_config: { data_parallel_size: 1 },
  };
}

async function load(
  c: Context<Env>,
  gateway: Gateway,
  { name, path, inPlace }: Load,
): Promise<{ name: string; revision: number }> {
  const { listen, roots } = gateway.config;
  const { catalog } = gateway.registry;
  if (roots.length === 0 && !isLoopback(listen.host)) {
    throw new StepgateError(
      'path_not_allowed',
      `checkpoints can be registered from the network only when the config says from where: add the trainers' output directories to "roots"`,
    );
  }
  if (catalog.hasBase(name))
    throw new Refusal(400, 'InvalidUserInput', `The lora adapter '${name}' conflicts with a served base model.`);
  const ours = ourName(catalog, name);
  c.get('caller').checkTouch(identify(ours).model);
  try {
    const { revision } = await gateway.registry.register({ name: ours, path, replace: inPlace });
    return { name, revision };
  } catch (thrown) {
    throw inVllmsWords(thrown, {
      name,
      path,
      isLoaded: !inPlace && catalog.find(ours)?.state.kind === 'servable',
      isThere: ['/', ...roots].some((root) => existsSync(resolve(root, path, CONFIG_FILE))),
    });
  }
}

function unload(gateway: Gateway, name: string, caller: Caller): void {
  const { catalog } = gateway.registry;
  checkName(caller, catalog, ourName(catalog, name));
  const known = catalog.find(ourName(catalog, name));
  if (known === undefined || known.state.kind === 'deleted')
    throw new Refusal(404, 'NotFoundError', `The lora adapter '${name}' cannot be found.`);
  try {
    gateway.registry.remove(known.name, 'trainer');
  } catch (thrown) {
    // Somebody keeps it (a pin, an alias, a deployment). The trainer has let go of it all the same, and must not stop for that.
    if (!(thrown instanceof StepgateError) || thrown.code !== 'conflict') throw thrown;
  }
}

/** `run-v5`, as TRL and Axolotl count, is step 5 of `run`, where nothing is called exactly so. */
function ourName(catalog: Catalog, name: string): string {
  const version = parseVersion(name);
  const known = catalog.find(name);
  if (version === undefined || (known !== undefined && known.state.kind !== 'deleted') || catalog.has(name))
    return name;
  return `${version.model}@${version.step}`;
}

interface Asked {
  readonly name: string;
  readonly path: string;
  /** The name has weights, and others were not asked to take their place. */
  readonly isLoaded: boolean;
  /** There is an adapter_config.json at the path. */
  readonly isThere: boolean;
}

/** What the registry says, with the status and words that vLLM has for it; its own words where vLLM has none. */
function inVllmsWords(thrown: unknown, { name, path, isLoaded, isThere }: Asked): unknown {
  if (!(thrown instanceof StepgateError)) return thrown;
  switch (thrown.code) {
    case 'conflict':
      if (!isLoaded) return new Refusal(400, 'InvalidUserInput', thrown.message);
      return new Refusal(
        400,
        'InvalidUserInput',
        `The lora adapter '${name}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.`,
      );
    case 'checkpoint_invalid':
    case 'checkpoint_not_servable':
      if (!isThere)
        return new Refusal(404, 'NotFoundError', `Loading lora ${name} failed: No adapter found for ${path}`);
      // 500, as vLLM: trainers try again on it, and a half-written checkpoint may be whole by then.
      return new Refusal(500, 'InternalServerError', `Call to add_lora method failed: ${thrown.message}`);
    default:
      return thrown;
  }
}

function refuse(c: Context<Env>, thrown: unknown, log: Logger): Response {
  const refusal = thrown instanceof Refusal ? thrown : fromOurs(asStepgateError(thrown), thrown, log);
  const { status, type, message } = refusal;
  return c.json({ error: { message, type, param: null, code: status } }, status as ContentfulStatusCode);
}

/** FastAPI's names for statuses, which vLLM's other errors bear. */
const TYPES: Readonly<Record<number, string>> = {
  400: 'InvalidUserInput',
  403: 'PermissionDeniedError',
  404: 'NotFoundError',
};

function fromOurs(error: StepgateError, thrown: unknown, log: Logger): Refusal {
  if (error.code === 'internal_error') log.error({ err: thrown }, 'bug');
  return new Refusal(error.status, TYPES[error.status] ?? 'InternalServerError', error.message);
}

async function readLoad(c: Context<Env>, gateway: Gateway): Promise<Load> {
  const fields = await readFields(c, gateway);
  const name = textField(fields, 'lora_name');
  const path = textField(fields, 'lora_path');
  if (name === '' || path === '')
    throw new Refusal(400, 'InvalidUserInput', "Both 'lora_name' and 'lora_path' must be provided.");
  return { name, path, inPlace: fields.load_inplace === true };
}

const invalid = (what: string): Refusal => new Refusal(400, 'Bad Request', `1 validation error:\n  ${what}`);

async function readFields(c: Context<Env>, gateway: Gateway): Promise<Readonly<Record<string, unknown>>> {
  if (!/^application\/json\b/i.test(c.req.header('content-type') ?? ''))
    throw invalid("Unsupported Media Type: Only 'application/json' is allowed");
  const body = await readBody(c.env.incoming, gateway.config.limits.bodyBytesMax);
  let fields: unknown;
  try {
    fields = JSON.parse(body.toString('utf8'));
  } catch {
    throw invalid(
      "{'type': 'json_invalid', 'loc': 'body.1', 'msg': 'JSON decode error', 'input': '<dict of 0 items>', 'ctx': {'error': 'Expecting value'}}",
    );
  }
  if (typeof fields === 'object' && fields !== null && !Array.isArray(fields)) return { ...fields };
  throw invalid("{'type': 'model_attributes_type', 'loc': 'body', 'msg': 'Input should be a valid dictionary'}");
}

function textField(fields: Readonly<Record<string, unknown>>, field: string): string {
  const value = fields[field];
  if (typeof value === 'string') return value;
  if (value === undefined)
    throw invalid(
      `{'type': 'missing', 'loc': 'body.${field}', 'msg': 'Field required', 'input': '<dict of ${Object.keys(fields).length} items>'}`,
    );
  throw invalid(
    `{'type': 'string_type', 'loc': 'body.${field}', 'msg': 'Input should be a valid string', 'input': '${JSON.stringify(value)}'}`,
  );
}
