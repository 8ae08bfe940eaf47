// Where a command finds a gateway: by what was written, by its config file, or where it is by default. Also how a command reads that file.
import { readFile } from 'node:fs/promises';
import { type Config, hasTls, parseConfig } from '../config.ts';
import { Failure, wrong } from './terminal.ts';

const UNREADABLE: Readonly<Record<string, string>> = { ENOENT: 'there is no such file', EISDIR: 'it is a directory' };

/** @throws Failure when the file cannot be read; ConfigError when it can, but not used */
export async function readConfig(file: string): Promise<Config> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Failure(`cannot read the config "${file}": ${UNREADABLE[error.code ?? ''] ?? error.message}`);
  });
  return parseConfig(text, { file });
}

/** Of the admin listener. @throws Failure */
export const adminUrl = ({ admin, config }: { admin?: string; config?: string }): Promise<string> =>
  listenerUrl('admin', { written: admin, config, byDefault: 'http://127.0.0.1:8081' });

/** Where requests for models go. @throws Failure */
export const publicUrl = ({ url, config }: { url?: string; config?: string }): Promise<string> =>
  listenerUrl('listen', { written: url, config, byDefault: 'http://127.0.0.1:8080' });

const OPTION = { admin: '--admin', listen: '--url' } as const;

async function listenerUrl(
  key: 'admin' | 'listen',
  from: { written: string | undefined; config: string | undefined; byDefault: string },
): Promise<string> {
  const { written, config, byDefault } = from;
  if (written !== undefined) {
    const full = /^https?:\/\//.test(written)
      ? written
      : `http://${/^\d+$/.test(written) ? '127.0.0.1:' : ''}${written}`;
    if (!URL.canParse(full)) throw wrong(`${OPTION[key]} "${written}" is no URL: write for example ${byDefault}`);
    return new URL(full).href.replace(/\/+$/, '').replace(/(\/admin)?\/v1$/, '');
  }
  if (config === undefined) return byDefault;
  const read = await readConfig(config);
  const { host, port } = read[key];
  if (port === 0)
    throw new Failure(`"${key}" in ${config} has port 0 (any free one): name the real one with ${OPTION[key]} URL`);
  return `${hasTls(read, key) ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
