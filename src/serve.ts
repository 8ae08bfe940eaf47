// Puts the parts together and opens the two listeners. The composition root: nothing below it builds its own collaborators.
import type { Logger } from 'pino';
import { Access } from './access/access.ts';
import { type Credentials, type ReadVariable, readCredentials } from './access/credentials.ts';
import { reloadBySignal } from './admin/audit.ts';
import { createAdmin } from './admin.ts';
import { createApp, engineRoutes } from './app.ts';
import { type Config, ConfigError, hasTls, isLoopback } from './config.ts';
import { Deployments } from './deployments/deployments.ts';
import { checkTls, Door } from './door.ts';
import { Engines } from './engines/engines.ts';
import { Gateway } from './gateway.ts';
import { Joined } from './joined.ts';
import { Journal } from './journal.ts';
import type { RegistrySettings } from './registry/options.ts';
import { Registry, type RegistryChange } from './registry/registry.ts';
import { Reloads } from './reload.ts';
import { endRequests } from './shutdown.ts';
import { Sources } from './sources/sources.ts';
import { stagingDir } from './sources/staging.ts';
import { inUse, StoreKeeper } from './store-keeper.ts';

export interface Running {
  readonly url: string;
  readonly adminUrl: string;
  readonly gateway: Gateway;
  readonly reloads: Reloads;
  readonly engines: Engines;
  /** As POST /admin/v1/reload does it. What was wrong, or what changed, is in the log, and in the audit log under the signal's name. */
  reloadBySignal(signal: string): Promise<void>;
  /** Lets requests under way end, turns new ones away, then stops; with `now`, cuts them. */
  close(options?: { now?: boolean }): Promise<void>;
}

interface Surroundings {
  readonly log: Logger;
  /** The environment, for the names that the config gives. Left out: empty. */
  readonly variable?: ReadVariable | undefined;
  /** The whole of it, for the engines that the gateway starts. Left out: empty. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
  /** Reads the config's file once more; rejects with a ConfigError. Left out: there is none. */
  readonly reread?: (() => Promise<Config>) | undefined;
}

/**
 * @throws Error with `code` EADDRINUSE and `key` ('listen' or 'admin') when an address is taken, StepgateError when the registry cannot open,
 * ConfigError for credentials that cannot be read and an admin listener that would be open to others.
 */
export async function start(written: Config, surroundings: Surroundings): Promise<Running> {
  const { log, variable = () => undefined } = surroundings;
  const credentials = await readCredentials(written, variable);
  let house: House | undefined;
  const registry = await Registry.open({
    dataDir: written.data,
    ...registrySettings(written),
    nowMs: Date.now,
    onChange: (change) => {
      house?.gateway.onChange(change);
      if (leavesContent(change)) void house?.keeper.sweep();
    },
    onProblem: (about) => log.warn({ about }, 'registry'),
  });
  const closers: (() => Promise<void>)[] = [() => registry.close()];
  try {
    const joined = new Joined(registry.others);
    const config = joined.into(written);
    house = build({ registry, config, credentials, log });
    const { gateway, keeper, sources } = house;
    closers.unshift(
      () => gateway.close(),
      () => keeper.close(),
    );
    checkAdmin(config, gateway.access);
    const { app, admin, reloads, engines, say } = openDoors({ house, written, joined, credentials, surroundings });
    closers.unshift(
      // Before the connections on which that is told.
      () => sources.close(),
      () => app.close(),
      () => admin.cut(),
    );
    const adminUrl = await admin.bind(config);
    await gateway.start();
    keeper.start();
    registry.watch();
    const url = await app.bind(config);
    say(url);
    engines.start();
    const close = async ({ now = false } = {}) => {
      // First: one that gets ready while the gateway stops is the next gateway's to find.
      await engines.close();
      if (now) await app.cut();
      else await endRequests({ gateway, door: app, log });
      for (const closer of closers) await closer();
    };
    const bySignal = (signal: string) => reloadBySignal(signal, reloads, { gateway, log });
    return { url, adminUrl, gateway, reloads, engines, reloadBySignal: bySignal, close };
  } catch (error) {
    for (const closer of closers) await closer();
    throw error;
  }
}

/** What is there without the listeners. */
interface House {
  readonly gateway: Gateway;
  readonly keeper: StoreKeeper;
  readonly sources: Sources;
}

interface BuildParts {
  readonly registry: Registry;
  readonly config: Config;
  readonly credentials: Credentials;
  readonly log: Logger;
}

function build({ registry, config, credentials, log }: BuildParts): House {
  const access = new Access({
    rows: registry.others,
    listen: config.listen,
    admin: config.admin,
    nowMs: Date.now,
    now: () => performance.now(),
  });
  const journal = new Journal();
  const deployments = openDeployments(registry, {
    ...{ journal, log },
    follow: () => gateway.reservations.follow(),
  });
  const sources = new Sources({
    dataDir: config.data,
    settings: () => gateway.config.sources,
    keys: credentials.sources,
    promise: (bytes, uri) => registry.promiseBytes(bytes, uri),
    tell: (news) => {
      journal.tell({ type: 'source', ...news });
      if (news.phase !== 'begun') gateway.metrics.fetchEnded(news.kind, news.phase, news.bytes);
    },
    log,
    nowMs: Date.now,
  });
  const gateway: Gateway = new Gateway({
    ...{ config, registry, access, deployments, credentials: credentials.engines, sources, journal, log },
  });
  return { gateway, keeper: keepStore(gateway, log), sources };
}

interface DoorParts {
  readonly house: House;
  readonly written: Config;
  readonly joined: Joined;
  readonly credentials: Credentials;
  readonly surroundings: Surroundings;
}

/** The listeners, not bound yet, and what changes both. `say`: where the public one is, once it is known. */
function openDoors({ house, written, joined, credentials, surroundings }: DoorParts) {
  const { log, variable = () => undefined, environment = {}, reread } = surroundings;
  const { gateway, sources } = house;
  const { config, journal, registry } = gateway;
  const adminTls = hasTls(config, 'admin');
  let publicUrl = '';
  const app = new Door({
    ...{ key: 'listen', config, tls: credentials.tls },
    onFull: () => gateway.metrics.connectionRefused('listen'),
    app: createApp(gateway, log),
    shortcut: engineRoutes(gateway, log),
  });
  const reloads = new Reloads({
    read: reread,
    ...{ written, joined },
    credentialsOf: async (next) => {
      const read = await readCredentials(next, variable);
      if (read.tls !== undefined) checkTls(read.tls);
      return read;
    },
    follow: async (next, { engines: keys, tls, sources: sourceKeys }) => {
      const fleet = await gateway.fleet.prepare(next, keys);
      registry.configure(registrySettings(next));
      gateway.configure(next, fleet);
      sources.configure(sourceKeys);
      app.configure(next, tls);
      admin.configure(next, adminTls ? tls : undefined);
    },
    isClosing: () => gateway.closing,
    journal,
    log,
  });
  const engines = new Engines({
    gateway,
    rejoin: (change) => reloads.rejoin(change),
    isJoined: (name) => joined.originOf(name) === 'engine',
    ...{ environment, log },
  });
  const admin: Door = new Door({
    ...{ key: 'admin', config, tls: adminTls ? credentials.tls : undefined },
    onFull: () => gateway.metrics.connectionRefused('admin'),
    app: createAdmin(gateway, { reloads, engines, publicUrl: () => publicUrl }, log),
  });
  const say = (url: string) => {
    publicUrl = url;
  };
  return { app, admin, reloads, engines, say };
}

const registrySettings = ({ data, roots, models, store, discovery }: Config): RegistrySettings => ({
  roots: roots.length === 0 ? [] : [...roots, stagingDir(data)],
  models,
  storeBytesMax: store.bytesMax,
  ...discovery,
});

function openDeployments(
  { others: rows, catalog }: Registry,
  { journal, log, follow }: { journal: Journal; log: Logger; follow: () => void },
): Deployments {
  return new Deployments({
    rows,
    catalog,
    nowMs: Date.now,
    onChange: (deployment, made, by) => {
      const told = { deployment, build: made?.build, target: made?.target, by };
      log.info(told, made === undefined ? 'deployment removed' : 'deployed');
      journal.tell({ type: 'deployed', ...told });
      follow();
    },
  });
}

/** The admin listener shows itself to others only where somebody can be told from them. */
function checkAdmin({ admin: { host, port } }: Config, { keys }: Access): void {
  if (isLoopback(host) || keys.hasAdmin()) return;
  throw new ConfigError([
    `admin: ${host} can be reached by others, and there is no admin key: write "127.0.0.1:${port}", make a key with "stepgate keys NAME --scope admin", and write ${host} again; or make it now with --data`,
  ]);
}

/** Something in the store may be needed no more. */
const leavesContent = (change: RegistryChange): boolean =>
  change.kind === 'deleted' || ('replaced' in change && change.replaced !== undefined);

function keepStore(gateway: Gateway, log: Logger): StoreKeeper {
  const { registry, router, fleet } = gateway;
  return new StoreKeeper({
    sweep: (used) => registry.sweepStore(used),
    inUse: () => inUse(router.state, fleet),
    allSeen: () => [...fleet.members.values()].every(({ backend }) => backend.sighting !== undefined),
    get graceMs() {
      return gateway.config.deadlines.wholeMs;
    },
    nowMs: () => performance.now(),
    log,
  });
}
