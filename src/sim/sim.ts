// A simulated vLLM that can be started, killed, restarted and made to fail: the door that tests, the demo and the command line use.
// Owns the listening socket and its connections; what is served is machine.ts' and server.ts'.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { type Door, type Fault, Faults } from './faults.ts';
import { Machine, type SimOptions, type SimStats } from './machine.ts';
import { reset } from './reset.ts';
import { createApp, type Seen, type Site } from './server.ts';

export type { Door, Fault } from './faults.ts';
export type { SimOptions, SimStats } from './machine.ts';
export type { Seen } from './server.ts';

export interface Sim {
  readonly url: string;
  readonly port: number;
  /** Ends for good: connections are closed, the port is free when it resolves. */
  close(): Promise<void>;
  /** As a crash: connections are reset and the port refuses, at once. */
  kill(): void;
  /** Another process on the same port: no adapters, another start time. Also brings back one that was killed or has died. */
  restart(): Promise<void>;
  /** Refuses connections and resets the open ones, but forgets nothing. */
  refuse(): void;
  accept(): Promise<void>;
  /** The next `times` requests (default 1) at the door meet this fault; Infinity until `clearFaults`. */
  fault(door: Door, fault: Fault, times?: number): void;
  /** How many requests have still to meet one. */
  faultsLeft(): number;
  clearFaults(): void;
  /** Drops the adapter's name without anybody having asked. */
  forget(name: string): void;
  stats(): SimStats;
  /** The last request that reached a route with a model. */
  seen(): Seen | undefined;
}

/** vLLM's: clients must let go of idle sockets sooner. */
const KEEP_ALIVE_MS = 5_000;
/** Between the death of the engine and the server's leaving; requests in between are answered 500. */
const DYING_MS = 100;

/** Rejects as `listen` does (EADDRINUSE, EACCES) when the port cannot be had. */
export async function startSim(options: SimOptions = {}): Promise<Sim> {
  const host = options.host ?? '127.0.0.1';
  const site: Site = { machine: new Machine(options), faults: new Faults(), seen: undefined };
  const handler = getRequestListener(createApp(site).fetch);
  let listener = await listen(handler, host, options.port ?? 0);
  const { port } = listener;
  let dying: NodeJS.Timeout | undefined;

  const refuse = () => {
    clearTimeout(dying);
    listener.reset();
  };
  const accept = async () => {
    await listener.closed;
    listener = await listen(handler, host, port);
  };
  const live = () => {
    site.machine.engine.onDeath = () => {
      dying = setTimeout(refuse, DYING_MS).unref();
    };
  };
  live();
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    port,
    close: async () => {
      refuse();
      await listener.closed;
      site.machine.engine.die();
      clearTimeout(dying);
    },
    kill: () => {
      refuse();
      site.machine.engine.die();
      clearTimeout(dying);
    },
    restart: async () => {
      refuse();
      site.machine.engine.die();
      clearTimeout(dying);
      site.machine = new Machine(options, site.machine.startedAtS);
      live();
      await accept();
    },
    refuse,
    accept,
    fault: (door, fault, times = 1) => site.faults.add(door, fault, times),
    faultsLeft: () => site.faults.left,
    clearFaults: () => site.faults.clear(),
    forget: (name) => site.machine.engine.forget(name),
    stats: () => site.machine.stats(),
    seen: () => site.seen,
  };
}

interface Listening {
  readonly port: number;
  /** Resets every connection and gives up the port. */
  reset(): void;
  readonly closed: Promise<unknown>;
}

async function listen(handler: ReturnType<typeof getRequestListener>, host: string, port: number): Promise<Listening> {
  const server: Server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, noDelay: true }, handler);
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(port, host);
  await once(server, 'listening');
  const closed = once(server, 'close');
  return {
    port: (server.address() as AddressInfo).port,
    reset: () => {
      server.close();
      for (const socket of sockets) reset(socket);
    },
    closed,
  };
}
