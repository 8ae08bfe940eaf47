// The gateway's own credentials: its certificate, and what it shows to engines. Read once at the start from files and the environment, and kept
// apart from the config, which may be logged.
import { readFile } from 'node:fs/promises';
import { type Config, ConfigError, type KeyPlace } from '../config.ts';
import type { BackendName } from '../domain.ts';

export interface EngineCredentials {
  /** The Authorization header's value. */
  readonly authorization: string | undefined;
  /** PEM; undefined: the authorities that Node knows. */
  readonly ca: string | undefined;
}

export interface Credentials {
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  /** Those that have any. */
  readonly engines: ReadonlyMap<BackendName, EngineCredentials>;
  /** `hf`, `s3`, `mlflow`, `wandb`, or `hosts.` and a host -> its key. */
  readonly sources: ReadonlyMap<string, string>;
}

export const NO_CREDENTIALS: Credentials = { tls: undefined, engines: new Map(), sources: new Map() };

/** Undefined: there is no such variable. */
export type ReadVariable = (name: string) => string | undefined;

/** @throws ConfigError that names the setting, never what was read */
export async function readCredentials(config: Config, variable: ReadVariable): Promise<Credentials> {
  const { tls, backends } = config;
  const engines = new Map<BackendName, EngineCredentials>();
  for (const backend of backends) {
    const { name, caFile } = backend;
    const key = await readKey(`backends (${name})`, backend, variable);
    const ca = caFile === undefined ? undefined : await read(caFile, `backends (${name}): caFile`);
    if (ca !== undefined && !ca.includes('-----BEGIN CERTIFICATE-----'))
      throw new ConfigError([`backends (${name}): caFile: ${caFile} holds no PEM certificate`]);
    if (key !== undefined || ca !== undefined)
      engines.set(name, { authorization: key === undefined ? undefined : `Bearer ${key}`, ca });
  }
  const sources = await readSourceKeys(config, variable);
  if (tls === undefined) return { tls, engines, sources };
  const cert = await read(tls.certFile, 'tls.certFile');
  return { tls: { cert, key: await read(tls.keyFile, 'tls.keyFile') }, engines, sources };
}

async function readSourceKeys({ sources }: Config, variable: ReadVariable): Promise<ReadonlyMap<string, string>> {
  const { hf, s3, mlflow, wandb, hosts } = sources;
  const ofHosts = Object.entries(hosts).map(([host, place]) => [`hosts.${host}`, place] as const);
  const keys = new Map<string, string>();
  for (const [name, place] of [...Object.entries({ hf, s3, mlflow, wandb }), ...ofHosts]) {
    const key = await readKey(`sources.${name}`, place, variable);
    if (key !== undefined) keys.set(name, key);
  }
  return keys;
}

async function readKey(where: string, { keyFile, keyEnv }: KeyPlace, variable: ReadVariable) {
  if (keyFile === undefined && keyEnv === undefined) return undefined;
  const setting = `${where}: ${keyFile === undefined ? 'keyEnv' : 'keyFile'}`;
  const text = keyFile === undefined ? variable(keyEnv ?? '') : await read(keyFile, setting);
  const key = text?.trim();
  if (key === undefined || key === '')
    throw new ConfigError([
      keyFile === undefined
        ? `${setting}: the environment variable ${keyEnv} is not set: set it, or write keyFile`
        : `${setting}: ${keyFile} is empty: write the key into it`,
    ]);
  if (/^[\x21-\x7e]+$/.test(key)) return key;
  throw new ConfigError([`${setting}: holds more than one word, or letters that no header can carry`]);
}

async function read(file: string, setting: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no such file' : code === 'EACCES' ? 'this user may not' : code;
    throw new ConfigError([`${setting}: cannot read ${file}: ${why}`]);
  }
}
