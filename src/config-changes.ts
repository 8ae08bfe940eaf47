// What differs between two configs, key by key, and which of it needs a restart. Pure.
import { isDeepStrictEqual } from 'node:util';
import type { Config } from './config.ts';

export interface ConfigChange {
  /** As it is written in docs/config.md, with names in the place of numbers: `limits.queueMax`, `backends.gpu-1.url`, `models.my-model`. */
  readonly key: string;
  /** null: it was not there. */
  readonly before: unknown;
  /** null: it is there no more. */
  readonly after: unknown;
}

/** By key. A backend, a model or a section that came or went is one change. */
export function changesBetween(before: Config, after: Config): readonly ConfigChange[] {
  return [...differences('', plain(before), plain(after))].sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** What is bound, opened or handed to Node once, at the start. */
const FIXED = ['listen', 'admin', 'data', 'limits.headerBytesMax', 'limits.headMsMax'];

/** Of these changes, the keys that a running gateway cannot follow. */
export function needingRestart(changes: readonly ConfigChange[]): readonly string[] {
  return changes
    .filter(({ key, before, after }) =>
      key === 'tls'
        ? before === null || after === null
        : FIXED.some((fixed) => key === fixed || key.startsWith(`${fixed}.`)),
    )
    .map(({ key }) => FIXED.find((fixed) => key.startsWith(`${fixed}.`)) ?? key)
    .filter((key, index, all) => all.indexOf(key) === index);
}

type Plain = Readonly<Record<string, unknown>>;

/** Addresses as they are written, backends and models by name. */
const plain = ({ listen, admin, backends, models, ...rest }: Config): Plain => ({
  ...rest,
  listen: `${listen.host}:${listen.port}`,
  admin: `${admin.host}:${admin.port}`,
  backends: Object.fromEntries(backends.map(({ name, ...row }) => [name, row])),
  models: Object.fromEntries(models),
});

function* differences(key: string, before: unknown, after: unknown): Generator<ConfigChange> {
  if (isDeepStrictEqual(before, after)) return;
  if (!isPlain(before) || !isPlain(after)) {
    yield { key, before: before ?? null, after: after ?? null };
    return;
  }
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)]))
    yield* differences(key === '' ? name : `${key}.${name}`, before[name], after[name]);
}

const isPlain = (value: unknown): value is Plain =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
