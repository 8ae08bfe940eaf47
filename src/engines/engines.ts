// The engines that the gateway started, by name: which there are, how one comes and how one goes. Each one's process is engine.ts'.
import type { Logger } from 'pino';
import { isLoopback } from '../config.ts';
import { diskError } from '../disk-error.ts';
import { as, type BackendName } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import type { Gateway } from '../gateway.ts';
import type { JoinedChange } from '../joined.ts';
import type { EngineRow } from '../registry/store.ts';
import { BACKOFF } from './backoff.ts';
import { Engine } from './engine.ts';
import { LogFile } from './log-file.ts';
import { findPort, isFree, portOf } from './ports.ts';
import { checkNotDisabled, environmentOf, programOf } from './program.ts';
import { backendOf, commandOf, portIn } from './spec.ts';
import { servedBy, usableRoot, wantedOf } from './wanted.ts';

export interface EnginesParts {
  readonly gateway: Gateway;
  readonly rejoin: (change: JoinedChange) => Promise<void>;
  /** Whether the backend of this name is an engine that was joined here: the config may have another one of its name while it is none. */
  readonly isJoined: (name: BackendName) => boolean;
  /** What engines are started with, besides their own. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly log: Logger;
}

export interface UpRequest {
  readonly name: string;
  /** A checkpoint's name or id, or the absolute directory of a full model. */
  readonly checkpoint: string;
  /** A name of `engines.commands`, or a command. Undefined: `engines.command`. */
  readonly command?: string | undefined;
  /** Where the base is. Undefined: where the checkpoint, or an engine that serves it, says. */
  readonly root?: string | undefined;
  readonly port?: number | undefined;
  readonly waitMs: number;
  /** Also where a running backend would serve it. */
  readonly own: boolean;
  readonly flags: readonly string[];
}

/** One that never got ready: nothing is left of it but what it said. */
export interface EngineFailure {
  readonly name: string;
  readonly about: string;
  readonly log: LogFile;
}

export type Up =
  | { readonly kind: 'started'; readonly engine: Engine }
  | { readonly kind: 'served'; readonly backend: BackendName; readonly model: string };

const TERM_MS = 15_000;
const ENGINES_MAX = 100;
const FAILURES_MAX = 100;

export class Engines {
  readonly #parts: EnginesParts;
  readonly #engines = new Map<string, Engine>();
  /** The last ones, by name. */
  readonly #failures = new Map<string, EngineFailure>();
  /** Names and ports of those that are about to be started. */
  readonly #coming = new Map<string, number>();
  readonly #downs = new Map<string, Promise<void>>();
  #isClosed = false;

  constructor(parts: EnginesParts) {
    this.#parts = parts;
    for (const row of this.#rows.engines()) this.#make(row);
  }

  /** Finds again those that an earlier gateway started. */
  start(): void {
    for (const engine of this.all()) {
      if (engine.row.phase === 'stopping') this.#finish(engine);
      else engine.resume();
    }
  }

  /** A gateway ended while it ended this one. */
  #finish(engine: Engine): void {
    const { name } = engine.row;
    const { log } = this.#parts;
    this.#away(name, engine).catch((error: unknown) =>
      log.error({ err: error, engine: name }, 'engine: could not be ended'),
    );
  }

  /** They go on without the gateway. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#engines.values()].map((engine) => engine.close()));
  }

  all(): readonly Engine[] {
    return [...this.#engines.values()];
  }

  get(name: string): Engine | undefined {
    return this.#engines.get(name);
  }

  failure(name: string): EngineFailure | undefined {
    return this.#failures.get(name);
  }

  get #rows() {
    return this.#parts.gateway.registry.others;
  }

  /** @throws StepgateError forbidden, conflict, invalid_request, model_not_found, checkpoint_not_servable, ...: nothing was started */
  async up(request: UpRequest, who: string): Promise<Up> {
    const { gateway, environment } = this.#parts;
    const { name } = request;
    const wanted = await wantedOf(gateway, request);
    const backend = request.own ? undefined : servedBy(gateway, wanted);
    if (backend !== undefined) return { kind: 'served', backend, model: wanted.model };
    const command = await programOf(gateway.config, { said: request.command, path: environment.PATH });
    this.#checkName(name);
    this.#coming.set(name, 0);
    try {
      const port = await this.#port(name, portIn(request.flags) ?? request.port);
      const root = await usableRoot(wanted, request.root);
      const { base, rank, model } = wanted;
      const { waitMs, flags } = request;
      const spec = { ...commandOf({ command, root, base, port, rank, flags }), model, waitMs };
      const taken = gateway.config.backends.find(({ url }) => url === spec.url);
      if (taken !== undefined) throw new StepgateError('conflict', `${spec.url} is backend "${taken.name}" already`);
      const createdAtMs = Date.now();
      const row: EngineRow = {
        ...{ name: as<BackendName>(name), phase: 'starting', spec, who, createdAtMs },
        process: undefined,
        about: undefined,
      };
      await this.#logOf(name)
        .begin()
        .catch((error: unknown) => {
          throw diskError(error, 'nothing was started');
        });
      if (this.#isClosed) throw new StepgateError('shutting_down', 'the gateway is stopping');
      this.#rows.commit([{ kind: 'engineChanged', engine: row }]);
      this.#failures.delete(name);
      const engine = this.#make(row);
      engine.begin();
      return { kind: 'started', engine };
    } finally {
      this.#coming.delete(name);
    }
  }

  /** Drains it unless forced, then ends it. Joins one that is under way. @throws StepgateError backend_not_found, conflict, storage_full */
  async down(name: string, { who, force }: { readonly who: string; readonly force: boolean }): Promise<void> {
    const engine = this.find(name);
    const { gateway, isJoined } = this.#parts;
    const { cordons, fleet } = gateway;
    const backend = engine.row.name;
    if (!force && isJoined(backend) && fleet.members.has(backend)) {
      cordons.drain(backend, { who, force: true });
      await cordons.untilDrained(backend);
      if (this.#engines.get(name) !== engine) return; // somebody else has ended it, and another may have its name
      if (isJoined(backend) && cordons.of(backend) === undefined)
        throw conflict(`"${name}" was taken back while it was drained: it goes on`);
    }
    const under = this.#downs.get(name) ?? this.#away(name, engine).finally(() => this.#downs.delete(name));
    this.#downs.set(name, under);
    await under;
  }

  /** @throws StepgateError backend_not_found */
  find(name: string): Engine {
    const engine = this.#engines.get(name);
    if (engine !== undefined) return engine;
    const known = [...this.#engines.keys()].join(', ');
    const isBackend = [...this.#parts.gateway.fleet.members.keys()].some((backend) => backend === name);
    const message = isBackend
      ? `"${name}" is a backend, but no engine that the gateway started`
      : `the gateway started no engine "${name}"; ${known === '' ? 'there is none' : `there are ${known}`}`;
    throw new StepgateError('backend_not_found', message, { param: 'name' });
  }

  /** The log of an engine, also of one that is gone; undefined: there never was one of this name. */
  async logOf(name: string): Promise<LogFile | undefined> {
    const log = this.#logOf(name);
    return /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name) && (await log.exists()) ? log : undefined;
  }

  async #away(name: string, engine: Engine): Promise<void> {
    const wasJoined = this.#parts.isJoined(engine.row.name);
    const isNew = engine.row.phase === 'starting';
    await this.#leave(engine);
    await engine.end().catch(async (error: unknown) => {
      if (wasJoined && engine.state.kind !== 'stopping') await this.#join(engine.row);
      throw error;
    });
    // It may have got ready meanwhile.
    await this.#leave(engine);
    this.#rows.commit([{ kind: 'engineGone', name: engine.row.name }]);
    this.#engines.delete(name);
    if (isNew) this.#failed({ name, about: 'somebody ended it', log: engine.log });
    this.#parts.log.info({ engine: name }, 'engine ended');
  }

  /** For who waits until it is ready. */
  #failed(failure: EngineFailure): void {
    this.#failures.set(failure.name, failure);
    for (const [first] of this.#failures) if (this.#failures.size > FAILURES_MAX) this.#failures.delete(first);
  }

  #join(row: EngineRow): Promise<void> {
    const { who, createdAtMs } = row;
    const backend = { config: backendOf(row), origin: 'engine', who, sinceMs: createdAtMs } as const;
    return this.#parts.rejoin({ kind: 'add', backend });
  }

  async #leave({ row: { name } }: Engine): Promise<void> {
    const { isJoined, rejoin } = this.#parts;
    if (isJoined(name)) await rejoin({ kind: 'remove', name });
  }

  #make(row: EngineRow): Engine {
    const { gateway, log } = this.#parts;
    const { name } = row;
    const file = this.#logOf(name);
    const leave = () =>
      void this.#leave(engine).catch((error: unknown) => log.error({ err: error, engine: name }, 'bug'));
    const engine: Engine = new Engine({
      ...{ row, log: file, backoff: BACKOFF, termMs: TERM_MS },
      env: () => {
        checkNotDisabled(gateway.config);
        return environmentOf(gateway.config, this.#parts.environment);
      },
      save: (changed) => this.#rows.commit([{ kind: 'engineChanged', engine: changed }]),
      onReady: (ready) => this.#join(ready),
      onEnd: () => gateway.metrics.engineEnded(name),
      onGivenUp: leave,
      onNeverReady: (about) => {
        leave(); // it was ready, where only that could not be written down
        this.#rows.commit([{ kind: 'engineGone', name }]);
        this.#engines.delete(name);
        this.#failed({ name, about, log: file });
        log.error({ engine: name, about, log: file.path }, 'engine did not get ready: it is given up');
      },
      logger: log,
      nowMs: Date.now,
    });
    this.#engines.set(name, engine);
    return engine;
  }

  #logOf(name: string): LogFile {
    return LogFile.of(this.#parts.gateway.config.data, name);
  }

  #checkName(name: string): void {
    const { fleet } = this.#parts.gateway;
    if (this.#engines.size >= ENGINES_MAX)
      throw conflict(`there are ${ENGINES_MAX} engines already: "stepgate down" ends one`);
    if (this.#engines.has(name) || this.#coming.has(name)) {
      const state = this.#engines.get(name)?.state.kind ?? 'starting';
      throw conflict(
        `there is an engine "${name}" already (${state}): "stepgate down ${name}" ends it, or choose another name`,
      );
    }
    if ([...fleet.members.keys()].some((backend) => backend === name))
      throw conflict(`there is a backend "${name}" already; choose another name`);
  }

  /** A free one, which is this engine's from now on. */
  async #port(name: string, wanted: number | undefined): Promise<number> {
    const claim = (port: number) => {
      const isHeld = this.#holderOf(port, name) !== undefined;
      if (!isHeld) this.#coming.set(name, port);
      return !isHeld;
    };
    const port = wanted === undefined ? await findPort(claim) : claim(wanted) && (await isFree(wanted)) && wanted;
    if (port === undefined) throw conflict('no port from 8100 to 8999 is free: give one with --port');
    if (port !== false) return port;
    const holder = this.#holderOf(wanted ?? 0, name) ?? `"lsof -i :${wanted}" says by whom`;
    throw conflict(`port ${wanted} is taken (${holder}): give another, or leave --port out`);
  }

  /** Who has spoken for a port, though nothing may listen there now; undefined: nobody. */
  #holderOf(port: number, asking: string): string | undefined {
    const isHere = (url: string) => isLoopback(new URL(url).hostname.replace(/[[\]]/g, ''));
    const backend = this.#parts.gateway.config.backends.find(({ url }) => portOf(url) === port && isHere(url));
    if (backend !== undefined) return `backend "${backend.name}"`;
    const started = this.all().find(({ spec }) => portOf(spec.url) === port)?.row.name;
    const [coming] = [...this.#coming].find(([name, its]) => its === port && name !== asking) ?? [];
    const engine = started ?? coming;
    return engine === undefined ? undefined : `engine "${engine}"`;
  }
}

const conflict = (message: string) => new StepgateError('conflict', message, { param: 'name' });
