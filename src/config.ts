// The configuration: a YAML text, read once into a frozen Config of domain types, or refused with the lines at fault.
// Reads no file and no environment. The keys are in config-schema.ts, the wording of errors in config-problems.ts.
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { frozenBackend } from './config-backends.ts';
import { ConfigError, readYaml, type Shape } from './config-problems.ts';
import { type Address, configSchema, isLoopback } from './config-schema.ts';
import {
  as,
  type BackendName,
  type BaseName,
  type BestRule,
  type KeepRule,
  type LatestPolicy,
  type LayoutName,
  type ModelName,
  type RequestClass,
} from './domain.ts';

export { ConfigError } from './config-problems.ts';
export { type Address, isLoopback } from './config-schema.ts';

export interface BackendConfig {
  readonly name: BackendName;
  /** Without a slash at its end. */
  readonly url: string;
  readonly kind: 'vllm' | 'sglang' | 'lorax' | 'openai-compatible';
  /** Undefined: learned from the engine. */
  readonly slots?: number | undefined;
  /** Undefined: not known. */
  readonly rankMax?: number | undefined;
  /** Undefined: learned from the engine. */
  readonly runningMax?: number | undefined;
  /** Absolute, on the engine's machine. Undefined: it sees the store under the gateway's own path. */
  readonly storePath?: string | undefined;
  /** These three are of openai-compatible alone. What callers may name as its bases. */
  readonly bases?: readonly BaseName[] | undefined;
  /** Model -> the template of what its checkpoints are called there; see model-template.ts. */
  readonly models?: Readonly<Record<string, string>> | undefined;
  readonly health?: 'models' | 'none' | undefined;
  /** Absolute. What is in it is read by access/credentials.ts. */
  readonly keyFile?: string | undefined;
  /** The name of an environment variable. */
  readonly keyEnv?: string | undefined;
  /** Absolute. */
  readonly caFile?: string | undefined;
}

export interface ModelConfig {
  /** Undefined: the fleet's only base. */
  readonly base?: BaseName | undefined;
  /** Absolute. */
  readonly watch?: string | undefined;
  readonly layout: LayoutName;
  readonly latest: LatestPolicy;
  readonly best: BestRule;
  /** Undefined: all are kept. */
  readonly keep?: KeepRule | undefined;
}

/** How engines of the gateway's own are started, and whether. */
export interface EnginesConfig {
  /** Undefined: while `admin` is a loopback address. */
  readonly enabled?: boolean | undefined;
  readonly command: readonly string[];
  readonly commands: Readonly<Record<string, readonly string[]>>;
}

/** When an engine or an adapter is kept out of use. */
export interface HealthOptions {
  readonly ejectAfter: number;
  readonly ejectedMs: number;
  readonly quarantineMs: number;
}

/** Names of files and variables that hold a key, as access/credentials.ts reads them. */
export interface KeyPlace {
  /** Absolute. */
  readonly keyFile?: string | undefined;
  /** The name of an environment variable. */
  readonly keyEnv?: string | undefined;
}

/** From where checkpoints may be fetched. URLs are without a slash at their ends. */
export interface SourcesConfig {
  readonly allow: readonly string[];
  readonly bytesMax: number;
  readonly fetchMsMax: number;
  readonly hf: KeyPlace & { readonly url: string; readonly redirects: readonly string[] };
  readonly s3: KeyPlace & { readonly url?: string | undefined; readonly region: string };
  readonly mlflow: KeyPlace & { readonly url?: string | undefined; readonly redirects: readonly string[] };
  readonly wandb: KeyPlace & { readonly url: string; readonly redirects: readonly string[] };
  readonly hosts: Readonly<Record<string, KeyPlace>>;
}

export interface Config {
  readonly listen: Address;
  readonly admin: Address;
  /** Absolute paths. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string } | undefined;
  readonly access: {
    readonly metrics: 'key' | 'open';
    readonly hosts: readonly string[];
    readonly origins: readonly string[];
  };
  /** Absolute. */
  readonly data: string;
  readonly backends: readonly BackendConfig[];
  readonly engines: EnginesConfig;
  readonly models: ReadonlyMap<ModelName, ModelConfig>;
  /** Absolute directories from which checkpoints may be registered; none: any of them, while `listen` is a loopback address. */
  readonly roots: readonly string[];
  /** `bytesMax`: of the adapter store; undefined: as large as the disk. */
  readonly store: { readonly bytesMax?: number | undefined };
  readonly sources: SourcesConfig;
  readonly discovery: { readonly rescanMs: number; readonly settleMs: number };
  readonly limits: {
    readonly bodyBytesMax: number;
    readonly bufferedBytesMax: number;
    readonly headerBytesMax: number;
    readonly headMsMax: number;
    readonly bodyMsMax: number;
    readonly connectionsMax: number;
    readonly queueMax: number;
    readonly queuePerCheckpointMax: number;
    readonly waitMsMax: number;
  };
  readonly deadlines: {
    readonly connectMs: number;
    readonly loadMs: number;
    readonly firstTokenMs: number;
    readonly betweenChunksMs: number;
    readonly wholeMs: number;
  };
  readonly health: HealthOptions;
  readonly scheduling: {
    readonly drainAfterMs: Readonly<Record<RequestClass, number>>;
    readonly quantumLoads: number;
    readonly batchLoads: number;
    readonly batchMsMax: number;
    readonly replicateAbove: number;
    readonly latestWithinMs: number;
    readonly failureMemoryMs: number;
    readonly commentEveryMs: number;
  };
  readonly shutdown: { readonly graceMs: number };
  readonly probe: { readonly everyMs: number; readonly timeoutMs: number };
}

/**
 * @param source.file the file that `text` came from: named in errors, and relative paths start at its directory (else at the working directory)
 * @throws ConfigError whose message has one line for each problem: file:line:column, the key and the fix
 */
export function parseConfig(text: string, source: { file: string | undefined }): Config {
  const yaml = readYaml(text, { file: source.file, shape: configJsonSchema() });
  const result = configSchema.safeParse(yaml.value);
  if (!result.success) throw new ConfigError(yaml.problems(result.error.issues));
  const { listen, admin } = result.data;
  if (listen.port !== 0 && listen.port === admin.port)
    throw new ConfigError(
      yaml.problems([
        {
          code: 'custom',
          path: ['admin'],
          message: `port ${admin.port} is taken by "listen"; write another, such as "127.0.0.1:${admin.port + 1}"`,
        },
      ]),
    );
  return freeze(result.data, source.file === undefined ? resolve('.') : dirname(resolve(source.file)));
}

/** Whether this listener speaks TLS. */
export const hasTls = (config: Config, key: 'listen' | 'admin'): boolean =>
  config.tls !== undefined && (key === 'listen' || !isLoopback(config.admin.host));

export function defaultConfig(): Config {
  return parseConfig('', { file: undefined });
}

/** What a config file may hold, for editors: config/stepgate.schema.json. */
export function configJsonSchema(): Shape {
  shape ??= z.toJSONSchema(configSchema, { io: 'input', target: 'draft-7' }) as Shape;
  return shape;
}
/** Made once: it takes longer than all the rest of reading a config. */
let shape: Shape | undefined;

function freeze(raw: z.output<typeof configSchema>, directory: string): Config {
  const models = Object.entries(raw.models).map(
    ([name, { base, watch, best, keep, ...rest }]): [ModelName, ModelConfig] => [
      as<ModelName>(name),
      Object.freeze({
        ...rest,
        base: base === undefined ? undefined : as<BaseName>(base),
        watch: watch === undefined ? undefined : resolve(directory, watch),
        best: Object.freeze(best),
        ...(keep && { keep: Object.freeze(keep) }),
      }),
    ],
  );
  const { tls } = raw;
  const whole = (path: string | undefined) => (path === undefined ? undefined : resolve(directory, path));
  const sections = [
    'listen',
    'admin',
    'access',
    'engines',
    'store',
    'discovery',
    'limits',
    'deadlines',
    'health',
    'scheduling',
    'shutdown',
    'probe',
  ] as const;
  for (const name of sections) Object.freeze(raw[name]);
  return Object.freeze({
    ...raw,
    data: resolve(directory, raw.data),
    tls: tls && Object.freeze({ certFile: resolve(directory, tls.certFile), keyFile: resolve(directory, tls.keyFile) }),
    backends: Object.freeze(
      raw.backends.map((row) =>
        frozenBackend({
          ...row,
          ...(row.keyFile && { keyFile: whole(row.keyFile) }),
          ...(row.caFile && { caFile: whole(row.caFile) }),
        }),
      ),
    ),
    models: new Map(models),
    sources: freezeSources(raw.sources, directory),
    roots: Object.freeze(raw.roots.map((root) => resolve(directory, root))),
  });
}

function freezeSources(raw: SourcesConfig, directory: string): SourcesConfig {
  const place = <P extends KeyPlace>(row: P): P =>
    Object.freeze({ ...row, ...(row.keyFile && { keyFile: resolve(directory, row.keyFile) }) });
  return Object.freeze({
    ...raw,
    ...{ hf: place(raw.hf), s3: place(raw.s3), mlflow: place(raw.mlflow), wandb: place(raw.wandb) },
    hosts: Object.freeze(Object.fromEntries(Object.entries(raw.hosts).map(([host, row]) => [host, place(row)]))),
  });
}

/** The environment variables that hold keys. */
export const keyVariables = ({ backends, sources: { hf, s3, mlflow, wandb, hosts } }: Config): ReadonlySet<string> =>
  new Set(
    [...backends, hf, s3, mlflow, wandb, ...Object.values(hosts)].flatMap(({ keyEnv }: KeyPlace) => keyEnv ?? []),
  );
