// The backends beside those of the config's file: added by the admin API, or engines that the gateway started itself. Keeps the rows of the
// former, and puts both into the config that everything else goes by. Who changes them, and when that counts, is reload.ts'.

import { type BackendConfig, type Config, ConfigError } from './config.ts';
import { addedBackend, frozenBackend } from './config-backends.ts';
import type { BackendName } from './domain.ts';
import { backendOf } from './engines/spec.ts';
import { StepgateError } from './errors.ts';
import type { BackendRow, BackendRows } from './registry/store.ts';

export interface JoinedBackend {
  readonly config: BackendConfig;
  readonly origin: 'api' | 'engine';
  readonly who: string;
  /** Unix time, ms. */
  readonly sinceMs: number;
}

/** Each is asked whether it is up, every `probe.everyMs`. */
const JOINED_MAX = 1_000;

export type JoinedChange =
  | { readonly kind: 'add'; readonly backend: JoinedBackend }
  | { readonly kind: 'remove'; readonly name: BackendName };

export class Joined {
  readonly #rows: BackendRows;
  #all: ReadonlyMap<BackendName, JoinedBackend>;

  /** @throws ConfigError for a row that this version cannot read */
  constructor(rows: BackendRows) {
    this.#rows = rows;
    const engines = rows.engines().filter(({ phase }) => phase === 'serving');
    const all = [
      ...rows.backends().map(added),
      ...engines.map((row): JoinedBackend => {
        const { who, createdAtMs } = row;
        return { config: backendOf(row), origin: 'engine', who, sinceMs: createdAtMs };
      }),
    ];
    this.#all = byName(all);
  }

  get(name: BackendName): JoinedBackend | undefined {
    return this.#all.get(name);
  }

  originOf(name: BackendName): 'config' | JoinedBackend['origin'] {
    return this.#all.get(name)?.origin ?? 'config';
  }

  /** The config as the file says, and these backends. @throws ConfigError where the file has one of their names or urls */
  into(config: Config): Config {
    return join(config, [...this.#all.values()]);
  }

  /** As `into`, after a change that was not made yet. @throws StepgateError conflict */
  intoAfter(config: Config, change: JoinedChange): Config {
    const others = [...this.#all.values()].filter(({ config: { name } }) => name !== nameOf(change));
    if (change.kind === 'remove') return join(config, others);
    const { backend } = change;
    if (this.#all.size >= JOINED_MAX)
      throw conflict(`${JOINED_MAX} backends were added already: remove some, or write them into the config`);
    if (this.#all.has(backend.config.name)) throw conflict(`there is a backend "${backend.config.name}" already`);
    const same = [...config.backends, ...others.map((other) => other.config)].find((one) =>
      clashes(one, backend.config),
    );
    if (same !== undefined) throw conflict(`there is a backend "${same.name}" already, at ${same.url}`);
    return join(config, [...others, backend]);
  }

  /** Makes the change; durable when it returns. An engine's row is kept by src/engines/. @throws StepgateError storage_full */
  commit(change: JoinedChange): void {
    const next = new Map(this.#all);
    if (change.kind === 'add') {
      if (change.backend.origin === 'api')
        this.#rows.commit([{ kind: 'backendAdded', backend: rowOf(change.backend) }]);
      next.set(change.backend.config.name, change.backend);
    } else {
      if (this.originOf(change.name) === 'api') this.#rows.commit([{ kind: 'backendRemoved', name: change.name }]);
      next.delete(change.name);
    }
    this.#all = next;
  }
}

function join(config: Config, joined: readonly JoinedBackend[]): Config {
  if (joined.length === 0) return config;
  const problems = joined.flatMap((one) => {
    const same = config.backends.find((row) => clashes(row, one.config));
    return same === undefined ? [] : [clashWith(one, same)];
  });
  if (problems.length > 0) throw new ConfigError(problems);
  const backends = Object.freeze([...config.backends, ...joined.map((one) => one.config)]);
  return Object.freeze({ ...config, backends });
}

function clashWith({ config: { name, url }, origin }: JoinedBackend, same: BackendConfig): string {
  const key = same.name === name ? 'name' : 'url';
  const away = origin === 'api' ? `DELETE /admin/v1/backends/${name}` : `"stepgate down ${name}"`;
  const is = origin === 'api' ? 'was added by the admin API' : 'is an engine that the gateway started';
  return `backends (${same.name}): its ${key} is that of "${name}" at ${url}, which ${is}: take that one away (${away}), or write another ${key}`;
}

/** Two rows for one engine would count its slots twice; two engines of one name cannot be told apart. */
const clashes = (a: BackendConfig, b: BackendConfig): boolean => a.name === b.name || a.url === b.url;
const nameOf = (change: JoinedChange): BackendName =>
  change.kind === 'add' ? change.backend.config.name : change.name;
const byName = (all: readonly JoinedBackend[]) => new Map(all.map((one) => [one.config.name, one]));
const conflict = (message: string) => new StepgateError('conflict', message, { param: 'name' });

function added({ name, settings, who, sinceMs }: BackendRow): JoinedBackend {
  const read = addedBackend.safeParse({ name, ...settings });
  if (!read.success)
    throw new ConfigError([
      `the backend "${name}", which was added by the admin API, is not one that this version can use: ${read.error.issues[0]?.message}`,
    ]);
  return { config: frozenBackend(read.data), origin: 'api', who, sinceMs };
}

function rowOf({ config: { name, ...settings }, who, sinceMs }: JoinedBackend): BackendRow {
  return { name, settings, who, sinceMs };
}
