// What is measured, as a table: the load, whom it concerns, how long. Order is the report's.
import type { Load } from './measure.ts';

export interface Scenario {
  readonly id: string;
  readonly title: string;
  readonly load: Load;
  /** What is counted. */
  readonly unit: 'request' | 'first token' | 'chunk';
  /** Also under --quick. */
  readonly quick: boolean;
  /** Who is left out: at what one request costs them, the load is far beyond them. */
  readonly without?: readonly string[];
  /** Only stepgate, with these many known checkpoints each; else all contenders, stepgate with 100. */
  readonly known?: readonly number[];
  /** Of a round, instead of the usual. */
  readonly seconds?: { readonly quick: number; readonly whole: number };
}

const KB = 1024;

const json = (clients: number, quick: boolean): Scenario => ({
  id: `json-${clients}`,
  title: `1 KB in, 1 KB out, ${clients} ${clients === 1 ? 'client' : 'clients'}`,
  load: { kind: 'closed', clients, bytes: KB, chunks: 0 },
  unit: 'request',
  quick,
});

const body = (kb: number, title: string): Scenario => ({
  id: `body-${kb}k`,
  title: `${title} in, 1 KB out, 16 clients`,
  load: { kind: 'closed', clients: 16, bytes: kb * KB, chunks: 0 },
  unit: 'request',
  quick: false,
});

const stream = (clients: number, quick: boolean): Scenario => ({
  id: `stream-${clients}`,
  title: `streams of 64 chunks, ${clients} clients`,
  load: { kind: 'closed', clients, bytes: KB, chunks: 64 },
  unit: 'request',
  quick,
});

/** Steps 6 to 8 fit beside step 5 in four slots; 6 to 104 do not. */
const mix = (id: string, title: string, others: string): Scenario => ({
  id,
  title,
  load: { kind: 'closed', clients: 16, bytes: KB, chunks: 0, others },
  unit: 'request',
  quick: false,
  known: [100],
});

export const SCENARIOS: readonly Scenario[] = [
  json(1, false),
  json(16, true),
  json(64, true),
  json(256, false),
  body(32, '32 KB'),
  body(1024, '1 MB'),
  stream(16, true),
  stream(64, false),
  {
    id: 'first-token',
    title: '1,000 streams begun per second, 4 chunks each, 20 ms apart',
    load: { kind: 'open', perSecond: 1000, chunks: 4, everyMs: 20 },
    unit: 'first token',
    quick: true,
    without: ['litellm', 'portkey'],
  },
  {
    id: 'slow-streams',
    title: '1,000 streams at once, 10 chunks per second each',
    load: { kind: 'open', perSecond: 1000, chunks: 0, everyMs: 100, together: 1000 },
    unit: 'chunk',
    quick: true,
    without: ['litellm'],
    seconds: { quick: 4, whole: 10 },
  },
  {
    id: 'known',
    title: 'known checkpoints (1 KB in, 1 KB out, 16 clients)',
    load: { kind: 'closed', clients: 16, bytes: KB, chunks: 0 },
    unit: 'request',
    quick: true,
    known: [1, 100, 10_000],
  },
  mix('warm', '5 % of the requests for other steps, all loaded (16 clients)', '6-8'),
  mix('cold', '5 % of the requests for other steps, none loaded: an unload and a load each (16 clients)', '6-104'),
];

export const nameOf = (known: number): string => `${known.toLocaleString('en')} known`;
