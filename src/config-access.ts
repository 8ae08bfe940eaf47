// The config's keys for credentials and for who may ask: part of the schema in config-schema.ts. What is in the files is read by
// access/credentials.ts, and stays out of the config.
import { z } from 'zod';
import { path, section } from './config-parts.ts';

/** Of one backend. */
export const engineCredentials = {
  keyFile: path.optional().meta({
    description: 'A file that holds the key to show to it (--api-key), relative to this file.',
    examples: ['/run/secrets/engine-key'],
  }),
  keyEnv: z
    .string()
    .regex(
      /^[A-Za-z_][A-Za-z0-9_]*$/,
      "the environment variable's name, not what it holds; write for example ENGINE_KEY",
    )
    .optional()
    .meta({
      description: 'Instead of keyFile: the environment variable that holds the key.',
      examples: ['ENGINE_KEY'],
    }),
  caFile: path.optional().meta({
    description:
      'PEM of the authority that signed its certificate, relative to this file. Left out: those that Node knows.',
    examples: ['/etc/stepgate/engines-ca.pem'],
  }),
};

export const oneKeyAtMost = ({ keyFile, keyEnv }: { keyFile?: string | undefined; keyEnv?: string | undefined }) =>
  keyFile === undefined || keyEnv === undefined;

export const tls = section(
  'TLS on `listen`, and on `admin` where that is no loopback address. Left out: none. To begin or to end with it needs a restart; other files do not.',
  {
    certFile: path.describe('PEM of the certificate and those between it and its authority, relative to this file.'),
    keyFile: path.describe("PEM of the certificate's key, relative to this file."),
  },
)
  .optional()
  .meta({ examples: [{ certFile: '/etc/stepgate/tls.crt', keyFile: '/etc/stepgate/tls.key' }] });

export const access = section('Who may ask; see docs/access.md.', {
  metrics: z
    .enum(['key', 'open'])
    .default('key')
    .describe('Whether GET /metrics needs a key where the other routes do.'),
  hosts: z
    .array(
      z
        .string()
        .regex(/^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/, 'a name without a port, such as "gate.example.com"'),
    )
    .default([])
    .describe(
      'Names under which this gateway is reached, besides localhost and addresses; a request with another Host is refused. None, where `listen` is no loopback address: any name.',
    ),
  origins: z
    .array(z.string().regex(/^https?:\/\/[^/\s]+$/, 'an origin, such as "https://app.example.com"'))
    .default([])
    .describe("Origins of web pages that may ask at `listen`, besides the gateway's own (CORS)."),
}).prefault({});
