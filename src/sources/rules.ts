// Where the requests of each kind of source may go, and with which credentials: the config's `sources`, as rules for client.ts. A key goes
// to the host that it is for, and is left behind by every redirect elsewhere.
import type { SourcesConfig } from '../config.ts';
import { isAllowed, isMeant, matchesHost, subjectOfUrl } from './allow.ts';
import type { Rules } from './client.ts';
import type { SourceKind } from './uri.ts';

/** Setting below `sources` (`hf`, `s3`, ..., `hosts.models.example.com`) -> its key's text. */
export type SourceKeys = ReadonlyMap<string, string>;

type Headers = Readonly<Record<string, string>>;

export function rulesOf(kind: SourceKind, settings: SourcesConfig, keys: SourceKeys): Rules {
  if (kind === 'https') return httpRules(settings, keys);
  const key = keys.get(kind);
  // None where it is not set, which its reader tells.
  const home = URL.parse(homeOf(kind, settings));
  const redirects = kind === 's3' ? [] : settings[kind].redirects;
  const isExposed = ({ protocol }: URL) => protocol !== 'https:' && home?.protocol === 'https:';
  return {
    setting: `sources.${kind}`,
    hasKey: () => key !== undefined,
    reach: (url) => {
      const { host, protocol } = url;
      if (isExposed(url)) return undefined;
      if (host === home?.host || redirects.includes(host)) return 'meant';
      return protocol === 'https:' && matchesHost(redirects, host) ? 'public' : undefined;
    },
    authorise: async (url, headers) => {
      if (key === undefined || url.origin !== home?.origin) return { ...headers };
      return kind === 's3'
        ? signed(url, headers, { key, region: settings.s3.region })
        : { ...headers, authorization: shown(kind, key) };
    },
    clean: (text) => without(key, text),
    hint: (url) => {
      if (isExposed(url)) return 'What is asked by https: is not fetched by http:.';
      if (kind !== 's3')
        return `If it belongs to the source, add "${url.host}" to sources.${kind}.redirects in the config.`;
      return 'Check sources.s3.url and sources.s3.region in the config: the bucket may be in another region.';
    },
  };
}

/** The server of a kind of source. '' where none is set. */
export function homeOf(kind: Exclude<SourceKind, 'https'>, { hf, s3, mlflow, wandb }: SourcesConfig): string {
  switch (kind) {
    case 'hf':
      return hf.url;
    case 's3':
      return s3.url ?? `https://s3.${s3.region}.amazonaws.com`;
    case 'mlflow':
      return mlflow.url ?? '';
    case 'wandb':
      return wandb.url;
  }
}

function httpRules({ allow }: SourcesConfig, keys: SourceKeys): Rules {
  const keyOf = ({ host }: URL) => keys.get(`hosts.${host}`);
  return {
    setting: 'sources.hosts.HOST',
    hasKey: (url) => keyOf(url) !== undefined,
    reach: (url) => (isMeant(allow, url) ? 'meant' : isAllowed(allow, subjectOfUrl(url)) ? 'public' : undefined),
    authorise: async (url, headers) => {
      const key = keyOf(url);
      return key === undefined ? { ...headers } : { ...headers, authorization: `Bearer ${key}` };
    },
    clean: (text) => [...keys.values()].reduce((clean, key) => without(key, clean), text),
    hint: ({ origin }) => `If that is meant, add "${origin}/" to sources.allow in the config.`,
  };
}

const without = (key: string | undefined, text: string): string =>
  (key?.split(':') ?? []).reduce((clean, secret) => (secret === '' ? clean : clean.replaceAll(secret, '***')), text);

function shown(kind: SourceKind, key: string): string {
  if (kind === 'wandb') return basic(`api:${key}`);
  return kind === 'mlflow' && key.includes(':') ? basic(key) : `Bearer ${key}`;
}

const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`;

/** AWS Signature Version 4, of S3's own headers: of the others a proxy on the way may change some. */
async function signed(url: URL, headers: Headers, { key, region }: { key: string; region: string }) {
  const { AwsV4Signer } = await import('aws4fetch');
  const [accessKeyId = '', secretAccessKey = '', ...token] = key.split(':');
  const sessionToken = token.join(':');
  const own = Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith('x-amz-')));
  const signer = new AwsV4Signer({
    ...{ url: url.href, headers: own, accessKeyId, secretAccessKey, service: 's3', region },
    ...(sessionToken !== '' && { sessionToken }),
  });
  return { ...headers, ...Object.fromEntries((await signer.sign()).headers) };
}
