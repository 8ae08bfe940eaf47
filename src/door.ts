// One of the two doors: its socket, its certificate, whom it lets in, and how it ends. What a request is at all is in listener.ts; it knows no route.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import { Browsers } from './access/browsers.ts';
import type { Credentials } from './access/credentials.ts';
import type { Shortcut } from './app.ts';
import { type Config, ConfigError, hasTls } from './config.ts';
import { StepgateError } from './errors.ts';
import { closeSilent, isPlain, refuse, refuseTunnel, serverOptions } from './listener.ts';
import { sendError } from './openai/error-body.ts';
import type { Env } from './web.ts';

/** What a connection may still take to bring its last answer out, once nothing is under way any more. */
const FLUSH_MS = 2_000;
const FLUSH_LOOK_MS = 10;

/** What is answered to the end: whoever asks whether to send more must hear it. */
const STATUS_ROUTES = ['/health', '/ready', '/metrics'];

interface DoorParts {
  readonly key: 'listen' | 'admin';
  readonly config: Config;
  readonly tls: Credentials['tls'];
  readonly app: Hono<Env>;
  readonly shortcut?: Shortcut;
  /** A connection was closed at once: there are `limits.connectionsMax`. */
  readonly onFull: () => void;
}

export class Door {
  readonly #key: 'listen' | 'admin';
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #browsers: Browsers;
  /** Requests under way, but for those that the shortcut took. */
  #open = 0;
  #isClosing = false;
  #onIdle: (() => void) | undefined;

  /** @throws ConfigError for a certificate that is none */
  constructor({ key, config, tls, app, shortcut = () => false, onFull }: DoorParts) {
    this.#key = key;
    this.#browsers = browsersOf(config, key);
    // Bodies of the engines' routes are read after the handler has returned.
    const answer = getRequestListener(app.fetch, { overrideGlobalObjects: false, autoCleanupIncoming: false });
    const take: RequestListener = (incoming, response) => {
      if (!isPlain(incoming, response) || (this.#isClosing && !this.#mayStill(incoming, response))) return;
      if (!this.#browsers.admit(incoming, response) || shortcut(incoming, response)) return;
      this.#count(response);
      void answer(incoming, response);
    };
    const options = serverOptions(config);
    if (tls !== undefined) checkTls(tls);
    this.#server =
      tls === undefined
        ? createServer(options, take)
        : (createTlsServer(
            { ...options, handshakeTimeout: config.limits.headMsMax, ...tls },
            take,
          ) as unknown as Server);
    this.#server.on('clientError', refuse).on('connect', refuseTunnel).on('connection', closeSilent(config));
    this.#server.on('drop', onFull).on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.configure(config, tls);
  }

  /** Goes by another config, and shows another certificate, from now on; the address stays. */
  configure(config: Config, tls: Credentials['tls']): void {
    this.#browsers = browsersOf(config, this.#key);
    this.#server.maxConnections = config.limits.connectionsMax;
    this.#server.requestTimeout = serverOptions(config).requestTimeout ?? 0;
    if (tls !== undefined && 'setSecureContext' in this.#server)
      (this.#server as unknown as { setSecureContext(tls: object): void }).setSecureContext(tls);
  }

  /** @returns its URL. @throws Error with `code` EADDRINUSE and the like, and `key` */
  async bind(config: Config): Promise<string> {
    const { host, port } = config[this.#key];
    try {
      this.#server.listen(port, host);
      await once(this.#server, 'listening');
    } catch (error) {
      throw Object.assign(error as NodeJS.ErrnoException, { key: this.#key });
    }
    const bound = this.#server.address() as AddressInfo;
    return `${hasTls(config, this.#key) ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${bound.port}`;
  }

  /** New requests are refused from now on, on new connections too; idle connections are closed. */
  turnAway(): void {
    this.#isClosing = true;
    this.#server.closeIdleConnections();
  }

  /** Resolves when none of its requests is under way, but for those that the shortcut took. */
  async idle(): Promise<void> {
    if (this.#open === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }

  #mayStill({ url = '' }: IncomingMessage, response: ServerResponse): boolean {
    response.setHeader('connection', 'close');
    if (STATUS_ROUTES.includes(url.split('?', 1)[0] ?? '')) return true;
    sendError(response, new StepgateError('shutting_down', 'the gateway is stopping; ask again in a moment'));
    return false;
  }

  #count(response: ServerResponse): void {
    this.#open++;
    response.once('close', () => {
      if (--this.#open === 0) this.#onIdle?.();
    });
  }

  /** The last answers get out, what else is connected is cut. Resolves when the port is free. */
  async close(): Promise<void> {
    const server = this.#server;
    if (!server.listening) return;
    const closed = once(server, 'close').catch(() => {});
    server.close();
    // Who has never said anything may do so for long.
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
    const look = setInterval(() => server.closeIdleConnections(), FLUSH_LOOK_MS);
    const end = setTimeout(() => server.closeAllConnections(), FLUSH_MS);
    await closed;
    clearInterval(look);
    clearTimeout(end);
  }

  /** At once, whatever is connected. */
  async cut(): Promise<void> {
    this.#server.closeAllConnections();
    await this.close();
  }
}

function browsersOf({ access: { hosts, origins }, ...config }: Config, key: 'listen' | 'admin'): Browsers {
  return new Browsers({ address: config[key], hosts, origins: key === 'listen' ? origins : [] });
}

/** @throws ConfigError */
export function checkTls(tls: NonNullable<Credentials['tls']>): void {
  try {
    createSecureContext(tls);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ConfigError([`tls: certFile and keyFile are no certificate and its key in PEM (${why})`]);
  }
}
