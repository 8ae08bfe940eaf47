// `stepgate serve`: read the config, start the gateway, say where it is, stop it when asked. The gateway itself is src/serve.ts.
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { Command, Option } from 'commander';
import { readCredentials } from '../access/credentials.ts';
import { type Config, ConfigError, defaultConfig } from '../config.ts';
import { readConfig } from './addresses.ts';
import { createLog, LEVELS, type LogOptions } from './log.ts';
import { Failure, type Terminal } from './terminal.ts';

interface Options {
  readonly config?: string;
  readonly check?: boolean;
  readonly logLevel: LogOptions['level'];
}

export function serveCommand(terminal: Terminal): Command {
  return new Command('serve')
    .summary('start the gateway')
    .description(
      'Start the gateway. Without --config every setting has its default: clients at 127.0.0.1:8080, one vLLM at 127.0.0.1:8000.\nThe log goes to stdout (JSON lines, unless it is a terminal). SIGHUP reads the config anew.\nSIGTERM and Ctrl-C let running answers end first; a second one does not.',
    )
    .option('--config <file>', 'YAML; every key is in docs/config.md, examples are in config/')
    .option('--check', 'read the config, say what it means or what is wrong with it, and end')
    .addOption(new Option('--log-level <level>', 'what to log').choices(LEVELS).default('info'))
    .addHelpText(
      'after',
      '\nExamples:\n  stepgate serve --config config/one-gpu.yaml\n  stepgate serve --check --config stepgate.yaml',
    )
    .action(async (options: Options) => {
      const config = options.config === undefined ? defaultConfig() : await readConfig(options.config);
      if (options.check) await check(config, terminal);
      else await serve(config, options, terminal);
    });
}

async function check(config: Config, terminal: Terminal): Promise<void> {
  terminal.out(
    `good: ${config.backends.length} backends, ${config.models.size} models; clients at ${at(config.listen)}, admin at ${at(config.admin)}`,
  );
  for (const [name, { watch }] of config.models)
    if (watch !== undefined && !existsSync(watch))
      terminal.err(`note: models.${name}.watch: ${watch} does not exist yet`);
  // Keys and certificates may be elsewhere than the file is looked at, so these are notes.
  await readCredentials(config, terminal.variable ?? (() => undefined)).catch((error: unknown) => {
    if (!(error instanceof ConfigError)) throw error;
    terminal.err(`note: it would not start here: ${error.message}`);
  });
}

/**
 * After a burst, V8 takes the objects of requests for long-lived and makes them in the old generation at once ("pretenuring"). There they are dead
 * within a second, and keep all that they point to alive until the next full collection: each young collection then copies 6 to 10 MB instead
 * of 0.1 to 0.5, in 15 to 30 ms instead of 2, and the heap takes twice the memory (256 clients for 5 s, then 1,000 streams per second, --trace-gc).
 */
const COLLECTOR = '--no-allocation-site-pretenuring';

async function serve(config: Config, options: Options, terminal: Terminal): Promise<void> {
  const log = createLog({ level: options.logLevel, readable: terminal.interactive, out: terminal.out });
  setFlagsFromString(COLLECTOR);
  // Imported only here: the other commands start in half the time without the server's modules.
  const { start } = await import('../serve.ts');
  const { config: file } = options;
  const reread = file === undefined ? undefined : () => readConfig(file).catch(asConfigError);
  // From the beginning: who is asked while it starts would be ended by the signal.
  let reload = () => {
    isAsked = true;
  };
  let isAsked = false;
  terminal.onReload?.(() => reload());
  const running = await start(config, {
    ...{ log, reread },
    variable: terminal.variable,
    environment: terminal.environment,
  }).catch(async (error: unknown) => {
    throw await sayStartFailure(error, config, file);
  });
  terminal.err(banner(config, running));
  reload = () => void running.reloadBySignal('SIGHUP');
  if (isAsked) reload();
  await terminal.stopped();
  await running.close();
}

/** A file that cannot be read is a config that cannot be used. */
function asConfigError(error: unknown): never {
  throw error instanceof Failure ? new ConfigError([error.message]) : error;
}

function banner(config: Config, { url, adminUrl }: { url: string; adminUrl: string }): string {
  const watched = [...config.models].flatMap(([name, { watch }]) =>
    watch === undefined ? [] : [`  model    ${name}: ${watch}`],
  );
  return [
    `stepgate serves at ${url}/v1`,
    `  admin    ${adminUrl}`,
    ...config.backends.map(({ name, url }) => `  backend  ${name}: ${url}`),
    ...watched,
    `  try      curl ${url}/v1/models`,
    `           stepgate ps${adminUrl === 'http://127.0.0.1:8081' ? '' : ` --admin ${adminUrl}`}`,
  ].join('\n');
}

/** What a failed start means for the person who started it; an error that is none of theirs comes back as it is. */
export async function sayStartFailure(error: unknown, config: Config, file: string | undefined): Promise<unknown> {
  const { code, key } = error as { code?: string; key?: 'listen' | 'admin' };
  if (key === undefined) return error;
  const address = config[key];
  const where = file === undefined ? 'in a file for --config' : `in ${file}`;
  switch (code) {
    case 'EADDRINUSE': {
      const free = await freePort(address.host);
      return new Failure(
        `port ${address.port} is taken: stop what holds it ("lsof -i :${address.port}" says who), or set "${key}: ${at({ host: address.host, port: free })}" ${where} (that one is free now)`,
      );
    }
    case 'EACCES':
      return new Failure(
        `this user may not listen on port ${address.port}: set "${key}" ${where} to a port above 1023`,
      );
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new Failure(
        `"${address.host}" is no address of this machine: set "${key}" ${where} to 127.0.0.1 or :PORT`,
      );
  }
  return error;
}

const at = ({ host, port }: Config['listen']) => `${host.includes(':') ? `[${host}]` : host}:${port}`;

/** A port on which nothing listens now, preferring `wanted`; undefined stands for any. */
export async function freePort(host: string, wanted = 0): Promise<number> {
  const server = createServer();
  const port = await new Promise<number>((resolve) => {
    server.once('error', () => resolve(0));
    server.listen({ host, port: wanted }, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
  await new Promise((resolve) => server.close(resolve));
  return port === 0 && wanted !== 0 ? freePort(host) : port;
}
