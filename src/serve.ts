// Puts the parts together and opens the two listeners. The composition root: nothing below it builds its own collaborators.
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import type { Logger } from 'pino';
import { Access } from './access/access.ts';
import { Browsers } from './access/browsers.ts';
import { type Credentials, type ReadVariable, readCredentials } from './access/credentials.ts';
import { createAdmin } from './admin.ts';
import { createApp, engineRoutes, type Shortcut } from './app.ts';
import { type Address, type Config, ConfigError, hasTls, isLoopback } from './config.ts';
import { Gateway } from './gateway.ts';
import { Journal } from './journal.ts';
import { closeSilent, isPlain, refuse, refuseTunnel, serverOptions } from './listener.ts';
import { Registry, type RegistryChange } from './registry/registry.ts';
import { inUse, StoreKeeper } from './store-keeper.ts';
import type { Env } from './web.ts';

export interface Running {
  readonly url: string;
  readonly adminUrl: string;
  readonly gateway: Gateway;
  /** Lets requests under way end, turns new ones away, then stops; with `now`, cuts them. */
  close(options?: { now?: boolean }): Promise<void>;
}

interface Surroundings {
  readonly log: Logger;
  /** The environment, for the names that the config gives. Left out: empty. */
  readonly variable?: ReadVariable | undefined;
}

/**
 * @throws Error with `code` EADDRINUSE and `key` ('listen' or 'admin') when an address is taken, StepgateError when the registry cannot open,
 * ConfigError for credentials that cannot be read and an admin listener that would be open to others.
 */
export async function start(config: Config, { log, variable = () => undefined }: Surroundings): Promise<Running> {
  const credentials = await readCredentials(config, variable);
  let gateway: Gateway | undefined;
  let keeper: StoreKeeper | undefined;
  const registry = await Registry.open({
    dataDir: config.data,
    roots: config.roots,
    models: config.models,
    storeBytesMax: config.store.bytesMax,
    ...config.discovery,
    nowMs: Date.now,
    onChange: (change) => {
      gateway?.onChange(change);
      if (leavesContent(change)) void keeper?.sweep();
    },
    onProblem: (about) => log.warn({ about }, 'registry'),
  });
  const { listen: address, admin: adminAddress } = config;
  const access = new Access({
    rows: registry.accessRows,
    listen: address,
    admin: adminAddress,
    nowMs: Date.now,
    now: () => performance.now(),
  });
  const journal = new Journal();
  const opened = new Gateway({ config, registry, access, credentials: credentials.engines, journal, log });
  gateway = opened;
  const kept = keepStore(opened, log);
  keeper = kept;
  const closers: (() => Promise<void>)[] = [() => opened.close(), () => kept.close(), () => registry.close()];
  try {
    checkAdmin(config, access);
    const { hosts, origins } = config.access;
    const app = listen(createApp(opened, log), config, {
      browsers: new Browsers({ address, hosts, origins }),
      tls: credentials.tls,
      shortcut: engineRoutes(opened, log),
    });
    const admin = listen(createAdmin(opened, log), config, {
      browsers: new Browsers({ address: adminAddress, hosts, origins: [] }),
      tls: hasTls(config, 'admin') ? credentials.tls : undefined,
    });
    closers.unshift(...[app, admin].map((server) => () => shut(server)));
    const adminUrl = await bind(admin, config, 'admin');
    await opened.start();
    kept.start();
    registry.watch();
    const url = await bind(app, config, 'listen');
    return { url, adminUrl, gateway: opened, close: (options) => close(opened, closers, options) };
  } catch (error) {
    for (const closer of closers) await closer();
    throw error;
  }
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

function keepStore({ registry, router, fleet, config }: Gateway, log: Logger): StoreKeeper {
  return new StoreKeeper({
    sweep: (used) => registry.sweepStore(used),
    inUse: () => inUse(router.state, fleet),
    allSeen: () => [...fleet.members.values()].every(({ backend }) => backend.sighting !== undefined),
    graceMs: config.deadlines.wholeMs,
    nowMs: () => performance.now(),
    log,
  });
}

async function close(gateway: Gateway, closers: readonly (() => Promise<void>)[], { now = false } = {}): Promise<void> {
  if (!now) await gateway.drain();
  for (const closer of closers) await closer();
}

interface Door {
  readonly browsers: Browsers;
  readonly tls: Credentials['tls'];
  readonly shortcut?: Shortcut;
}

function listen(app: Hono<Env>, config: Config, { browsers, tls, shortcut = () => false }: Door): Server {
  const options = serverOptions(config);
  // Bodies of the engines' routes are read after the handler has returned.
  const answer = getRequestListener(app.fetch, { overrideGlobalObjects: false, autoCleanupIncoming: false });
  const take: RequestListener = (incoming, response) => {
    if (!isPlain(incoming, response) || !browsers.admit(incoming, response)) return;
    if (!shortcut(incoming, response)) void answer(incoming, response);
  };
  const server =
    tls === undefined
      ? createServer(options, take)
      : createTls({ ...options, handshakeTimeout: config.limits.headMsMax, ...tls }, take);
  return server.on('connection', closeSilent(config)).on('clientError', refuse).on('connect', refuseTunnel);
}

function createTls(options: Parameters<typeof createTlsServer>[0], take: RequestListener): Server {
  try {
    return createTlsServer(options, take) as unknown as Server;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ConfigError([`tls: certFile and keyFile are no certificate and its key in PEM (${why})`]);
  }
}

async function bind(server: Server, config: Config, key: 'listen' | 'admin'): Promise<string> {
  const { host, port }: Address = config[key];
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (error) {
    throw Object.assign(error as NodeJS.ErrnoException, { key });
  }
  const bound = server.address() as AddressInfo;
  return `${hasTls(config, key) ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${bound.port}`;
}

async function shut(server: Server): Promise<void> {
  if (!server.listening) return;
  server.close();
  server.closeAllConnections();
  await once(server, 'close').catch(() => {});
}
