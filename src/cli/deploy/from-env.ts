// What the environment of a Fine Tuning Studio predict script comes to here: its adapter, registered, and a deployment of it. The names and
// defaults are those of Cloudera's CML_AMP_LLM_Fine_Tuning_Studio (ft/export.py, ft/scripts/cml_model_predict_script.py, ft/consts.py).
// It reads the adapter's directory and asks the gateway to register it, and to forget it where nothing comes of it; it deploys nothing.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { type AdminClient, check, checkpoint } from '../admin-client.ts';
import { fetched } from '../register.ts';
import { Failure, type Terminal } from '../terminal.ts';

const PREFIX = 'FINE_TUNING_STUDIO_';
const [BASE, ADAPTER, GENERATION] = ['BASE_MODEL_HF_NAME', 'ADAPTER_LOCATION', 'GEN_CONFIG_STRING'] as const;
/** What the script takes where it is told nothing. */
const GENERATION_DEFAULT = {
  do_sample: true,
  temperature: 0.8,
  max_new_tokens: 60,
  top_p: 1,
  top_k: 50,
  num_beams: 1,
  repetition_penalty: 1.1,
};

export interface Found {
  /** For the deployment, where the caller names none. */
  readonly name: string;
  readonly wish: { readonly target: string; readonly generation: unknown };
  /** For when nothing was deployed: what was registered for it is deleted, unless it was there before. */
  readonly undo: () => Promise<void>;
}

/** @throws Failure where a variable is missing, or what it names is not there */
export async function wishFromEnv(
  terminal: Terminal,
  admin: AdminClient,
  asked: { readonly name: string | undefined; readonly base: string | undefined },
): Promise<Found> {
  const read = (name: string) => terminal.variable?.(PREFIX + name) || terminal.variable?.(name) || undefined;
  const base = asked.base ?? read(BASE);
  if (base === undefined)
    throw new Failure(`${PREFIX}${BASE} is not set: --from-env needs the environment of a predict script`);
  const generation = readGeneration(read(GENERATION));
  const location = read(ADAPTER);
  if (location === undefined) return { name: nameOf(base), wish: { target: base, generation }, undo: async () => {} };
  const { name, isNew } = await register(admin, { location, base, terminal });
  terminal.err(`registered ${name} from ${location}, on ${base}`);
  const undo = async () => {
    // Where somebody has deployed it meanwhile it stays.
    if (isNew) await admin.ask('DELETE', pathOf(name)).then(() => terminal.err(`deleted ${name} again`), ignore);
  };
  return { name: nameOf(location.replace(REVISION, '')), wish: { target: name, generation }, undo };
}

interface Adapter {
  readonly location: string;
  readonly base: string;
  readonly terminal: Terminal;
}

/** `org/repo@revision` */
const HUB = /^[\w.-]+\/[\w.-]+(@[\w./-]+)?$/;
const REVISION = /@[\w./-]+$/;

/**
 * Under a name that says which weights: other files in the same place are another target, so another build. On the Hub the revision says it, as
 * well as it can.
 */
async function register(
  admin: AdminClient,
  { location, base, terminal }: Adapter,
): Promise<{ readonly name: string; readonly isNew: boolean }> {
  const path = resolve(location);
  const digest = await digestOf(path);
  if (digest !== undefined) {
    const request = { name: `${nameOf(location)}-${digest}`, path, base };
    const isNew = !(await isThere(admin, request.name));
    return { name: check(await admin.ask('POST', '/checkpoints', request), checkpoint).name, isNew };
  }
  const none = `${PREFIX}${ADAPTER}: "${location}" is no directory with adapter_config.json here`;
  if (!HUB.test(location)) throw new Failure(`${none}: run this where the adapter is`);
  const source = `hf:${location}`;
  const name = nameOf(REVISION.test(location) ? location : `${location}@main`);
  const isNew = !(await isThere(admin, name));
  const made = await fetched(admin, { name, source, base }, terminal).catch((error: unknown) => {
    throw error instanceof Failure ? new Failure(`${none}, and as ${source}: ${error.message}`) : error;
  });
  return { name: check(made, checkpoint).name, isNew };
}

const pathOf = (name: string): string => `/checkpoints/${encodeURIComponent(name)}`;

async function isThere(admin: AdminClient, name: string): Promise<boolean> {
  const known = await admin.ask('GET', pathOf(name)).catch(ignore);
  return known !== undefined && check(known, checkpoint).state !== 'deleted';
}

/** What the gateway refuses; if it is not there at all, the next question says so. */
function ignore(error: unknown): undefined {
  if (!(error instanceof Failure)) throw error;
}

const DIGITS = 8;

/** Of the files that make an adapter; undefined where there are none. */
async function digestOf(directory: string): Promise<string | undefined> {
  const names = await readdir(directory).catch(() => []);
  const files = names.filter((name) => name === 'adapter_config.json' || name.endsWith('.safetensors')).sort();
  if (files.length === 0) return undefined;
  const hash = createHash('sha256');
  for (const file of files) {
    hash.update(file);
    for await (const chunk of createReadStream(join(directory, file))) hash.update(chunk as Buffer);
  }
  return hash.digest('hex').slice(0, DIGITS);
}

/** The last part of a path or of a hub's name, in the letters of a deployment's. */
const nameOf = (location: string): string =>
  basename(location)
    .replace(/[^\w.-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 80) || 'adapter';

/** JSON, or with single quotes, as the script takes it too. It goes on with its defaults where it can read neither: here that is said. */
function readGeneration(text: string | undefined): unknown {
  if (text === undefined) return GENERATION_DEFAULT;
  for (const json of [text, text.replaceAll("'", '"')]) {
    try {
      return JSON.parse(json);
    } catch {
      // The next way of writing it.
    }
  }
  throw new Failure(
    `${PREFIX}${GENERATION} is no JSON: set it for example to '{"max_new_tokens": 60, "do_sample": true}'`,
  );
}
