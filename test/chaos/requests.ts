// One request of a chaos run, as the seed decides it: for what, in which protocol, and how its client behaves. Pure.
import { CLASSES, type RequestClass } from '../../src/domain.ts';
import type { Random } from '../random.ts';
import { KEY_NAMES, type Line } from './cast.ts';

/** What the name in `model` says. */
export type Asked =
  | { readonly kind: 'step'; readonly model: string; readonly step: number }
  | { readonly kind: 'bare'; readonly model: string; readonly spelled: string }
  | { readonly kind: 'alias'; readonly model: string; readonly alias: string }
  /** The nearest step that is not above. */
  | { readonly kind: 'nearest'; readonly model: string; readonly step: number }
  | { readonly kind: 'base' };

export const ROUTES = {
  chat: '/v1/chat/completions',
  completions: '/v1/completions',
  messages: '/v1/messages',
  responses: '/v1/responses',
} as const;

export interface KeyUse {
  readonly name: string;
  /** `former`: the secret before the one that counts now. */
  readonly which: 'current' | 'former' | 'none' | 'forged';
}

/** How a client takes its answer: to the end, in small sips, or not to the end. */
export type Manner = 'reads' | 'sips' | 'leavesAtOnce' | 'leavesAtHead' | 'leavesInside';

export interface Good {
  readonly kind: 'good';
  readonly key: KeyUse;
  readonly asked: Asked;
  readonly route: keyof typeof ROUTES;
  readonly stream: boolean;
  readonly tokens: number;
  readonly class: RequestClass | undefined;
  readonly manner: Manner;
}

/** What no gateway should answer with 200; the answer that it deserves is in judge.ts. */
export const NONSENSE = [
  'halfJson',
  'noModel',
  'emptyModel',
  'unknownModel',
  'stepToCome',
  'bareOfMany',
  'unknownRoute',
  'wrongMethod',
  'wrongClass',
  'tooLarge',
  'encoded',
  'noHttp',
] as const;
export interface Nonsense {
  readonly kind: 'nonsense';
  readonly key: KeyUse;
  readonly what: (typeof NONSENSE)[number];
}

export type Request = Good | Nonsense;

const MANNERS: readonly Manner[] = ['sips', 'leavesAtOnce', 'leavesAtHead', 'leavesInside'];

export function requestOf(random: Random, lines: readonly Line[]): Request {
  const key: KeyUse = { name: random.pick(KEY_NAMES), which: 'current' };
  if (random.chance(0.03)) return { kind: 'nonsense', key, what: random.pick(NONSENSE) };
  const manner = random.chance(0.08) ? random.pick(MANNERS) : 'reads';
  const stream = manner === 'leavesInside' || manner === 'sips' || random.chance(0.3);
  return {
    kind: 'good',
    key: random.chance(0.02) ? { ...key, which: random.pick(['former', 'none', 'forged']) } : key,
    asked: askedOf(random, random.pick(lines)),
    route: random.chance(0.7) ? 'chat' : random.pick(['completions', 'messages', 'responses'] as const),
    stream,
    tokens: manner === 'sips' ? 40 : 1 + random.below(stream ? 6 : 3),
    class: random.chance(0.4) ? random.pick(CLASSES) : undefined,
    manner,
  };
}

function askedOf(random: Random, line: Line): Asked {
  const { model, latest } = line.cast;
  const chance = random.next();
  if (chance < 0.04) return { kind: 'base' };
  if (chance < 0.34 && latest !== 'error') {
    return { kind: 'bare', model, spelled: random.chance(0.8) ? model : `${model}@latest` };
  }
  if (chance < 0.42 && line.aliases.size > 0)
    return { kind: 'alias', model, alias: random.pick([...line.aliases.keys()]) };
  if (chance < 0.46) return { kind: 'nearest', model, step: random.below(line.newest + 3) + 1 };
  if (chance < 0.48 && line.gone.length > 0) return { kind: 'step', model, step: random.pick(line.gone) };
  // Most ask for the newest few.
  const behind = Math.floor(line.steps.length * random.next() ** 3);
  return { kind: 'step', model, step: line.steps.at(-1 - behind) ?? line.newest };
}

/** `model` as it is written in the request. */
export function nameOf(asked: Asked, base: string): string {
  switch (asked.kind) {
    case 'step':
      return `${asked.model}@${asked.step}`;
    case 'bare':
      return asked.spelled;
    case 'alias':
      return `${asked.model}@${asked.alias}`;
    case 'nearest':
      return `${asked.model}@<=${asked.step}`;
    case 'base':
      return base;
  }
}
