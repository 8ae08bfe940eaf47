// The scenes for people, at 80 columns: a table, and what it says. Text only.
import type { Case, Plan, Scene, Watched } from './scene.ts';

export const DOORS = ['straight', 'stepgate'] as const;
export type DoorName = (typeof DOORS)[number];

/** One scene for each round. */
export interface Played {
  readonly scenes: Readonly<Record<DoorName, Readonly<Record<Case, readonly Scene[]>>>>;
  readonly sides: readonly Readonly<Record<DoorName, Watched>>[];
}

/** One row of the table; what JSON carries too. */
export interface Figures {
  readonly door: DoorName;
  readonly case: 'alone' | Case;
  /** The third's requests, and how many of them had a token within the limit. */
  readonly asked: number;
  readonly answered: number;
  /** Until the third's first token, ms; infinite (null in JSON) where it starved, null where it did not ask. */
  readonly waitMsP50: number | null;
  readonly waitMsMax: number | null;
  /** The most requests of the others that overtook one of the third. */
  readonly overtaken: number;
  /** The longest that an answer of the others took from its first token to its end, ms. */
  readonly runMsMax: number;
  /** The others' requests per second, the median over the rounds, and as a share of what they got at this door alone. */
  readonly perSecond: number;
  readonly ofAlone: number;
  /** Null: none of the others was answered while it was watched. */
  readonly firstTokenMsP50: number | null;
  readonly firstTokenMsP99: number | null;
}

export function figuresOf({ scenes }: Played): Figures[] {
  return DOORS.flatMap((door) => {
    const { late, 'at once': atOnce } = scenes[door];
    const alone = late.flatMap((scene) => scene.alone ?? []);
    const perSecondAlone = median(alone.map(({ perSecond }) => perSecond));
    const besides = (all: readonly Scene[]) => all.map(({ beside }) => beside);
    return [
      { door, case: 'alone' as const, ...thirdOf([]), ...othersOf(alone), ofAlone: 1 },
      {
        door,
        case: 'late' as const,
        ...thirdOf(late),
        ...othersOf(besides(late)),
        // Of the seconds before, round by round.
        ofAlone: median(late.map(({ beside, alone }) => beside.perSecond / (alone?.perSecond ?? Number.NaN))),
      },
      {
        door,
        case: 'at once' as const,
        ...thirdOf(atOnce),
        ...othersOf(besides(atOnce)),
        ofAlone: median(besides(atOnce).map(({ perSecond }) => perSecond)) / perSecondAlone,
      },
    ];
  });
}

function thirdOf(scenes: readonly Scene[]) {
  const third = scenes.flatMap((scene) => scene.third);
  const waits = third.map(({ waitMs }) => waitMs ?? Number.POSITIVE_INFINITY);
  return {
    asked: third.length,
    answered: third.filter(({ waitMs }) => waitMs !== undefined).length,
    waitMsP50: quantile(0.5, waits),
    waitMsMax: quantile(1, waits),
    overtaken: Math.max(0, ...third.map(({ overtaken }) => overtaken)),
    runMsMax: Math.max(0, ...scenes.map(({ runMsMax }) => runMsMax)),
  };
}

function othersOf(all: readonly Watched[]) {
  const firstTokens = all.flatMap(({ firstTokenMs }) => firstTokenMs);
  return {
    perSecond: median(all.map(({ perSecond }) => perSecond)),
    firstTokenMsP50: quantile(0.5, firstTokens),
    firstTokenMsP99: quantile(0.99, firstTokens),
  };
}

/** The smallest value that this share of them does not exceed. */
function quantile(share: number, values: readonly number[]): number | null {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? null;
}

const median = (values: readonly number[]): number => quantile(0.5, values) ?? Number.NaN;

const HEAD = ['', 'median', 'longest', 'answered', 'req/s', 'of alone', 'p50 ms', 'p99 ms'];
const WIDTHS = [-18, 9, 9, 10, 8, 10, 8, 8];

const line = (cells: readonly string[]): string =>
  cells
    .map((cell, at) => ((WIDTHS[at] ?? 0) < 0 ? cell.padEnd(-(WIDTHS[at] ?? 0)) : cell.padStart(WIDTHS[at] ?? 0)))
    .join('');

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
const milliseconds = (value: number | null): string => value?.toFixed(0) ?? '-';

export function tableOf(all: readonly Figures[], { limitS }: Plan): string {
  const wait = (ms: number | null) => (ms === null ? '-' : Number.isFinite(ms) ? seconds(ms) : `> ${limitS} s`);
  const rows = all.map((one) =>
    line([
      `${one.door}, ${one.case}`,
      wait(one.waitMsP50),
      wait(one.waitMsMax),
      one.asked === 0 ? '-' : `${one.answered}/${one.asked}`,
      one.perSecond.toFixed(1),
      one.ofAlone.toFixed(2),
      milliseconds(one.firstTokenMsP50),
      milliseconds(one.firstTokenMsP99),
    ]),
  );
  const above = line(['', '', 'the third:', '', '', 'the others:', '', '']).trimEnd();
  return [above, line(HEAD), ...rows].join('\n');
}

export const LEGEND = `
median, longest: from the third's request to its first token
answered: its requests that had a token within the limit
req/s: of the others together; of alone: over theirs at the same door while the
third did not ask; p50, p99: their time to first token
late: the third asks while the others are in full swing
at once: it asks first, together with the others' first requests`.trim();

export function conclusionsOf({ sides }: Played, all: readonly Figures[], { limitS }: Plan): string[] {
  const late = (door: DoorName) => all.find((one) => one.door === door && one.case === 'late');
  const [engine, gateway] = [late('straight'), late('stepgate')];
  if (engine === undefined || gateway === undefined) return [];
  const starved = engine.asked - engine.answered;
  const straight =
    starved === 0
      ? 'Straight at the engine nobody starved: has it more slots than --slots says?'
      : `Straight at the engine ${starved} of ${engine.asked} starved: no token in ${limitS} s,\nwhile up to ${engine.overtaken} later requests of the others were answered.`;
  const through =
    gateway.answered < gateway.asked
      ? `Through stepgate ${gateway.asked - gateway.answered} of ${gateway.asked} starved too.`
      : `Through stepgate none of ${gateway.asked} starved: ${seconds(gateway.waitMsMax ?? 0)} at the longest, where an\nanswer of the others that had begun took up to ${seconds(gateway.runMsMax)} to end.`;
  const beside = median(sides.map((side) => side.stepgate.perSecond / side.straight.perSecond));
  return [
    straight,
    through,
    `The others then get ${gateway.ofAlone.toFixed(2)} of the requests/s that they had before the third asked.`,
    `Side by side on one engine, nobody else asking: callers through stepgate get\n${beside.toFixed(3)} of the requests/s of those who ask the engine itself.`,
  ];
}
