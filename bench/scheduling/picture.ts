// The results as one SVG: a panel per workload, a bar per policy, p99 time to first token over CACHED's on a logarithmic scale, and goodput.
import { CLASSES, type Result } from './types.ts';

const [PANEL, ROW, LEFT, BARS, TOP] = [460, 16, 100, 190, 46];
const DECADES = 4;

/** The worst class's p99 over CACHED's, at least 1. */
function slowdown(row: Result, bound: Result): number {
  const ratios = CLASSES.flatMap((kind) => {
    const [its, least] = [row.ttftMsP99[kind], bound.ttftMsP99[kind]];
    return its === undefined || least === undefined ? [] : [its / least];
  });
  return Math.max(1, ...ratios);
}

const text = (x: number, y: number, content: string, rest = ''): string =>
  `<text x="${x}" y="${y}" ${rest}>${content}</text>`;

function panel(workload: string, rows: readonly Result[], [x, y]: readonly [number, number]): string {
  const bound = rows.find(({ policy }) => policy === 'CACHED') ?? rows[0];
  const bars = rows.flatMap((row, index) => {
    const times = bound === undefined ? 1 : slowdown(row, bound);
    const width = Math.max(2, (BARS * Math.min(DECADES, Math.log10(times))) / DECADES);
    const at = index * ROW + 22;
    const fill = row.policy === 'stepgate' ? '#d9480f' : row.policy === 'CACHED' ? '#868e96' : '#74a9d8';
    const label = `${times.toFixed(times < 10 ? 1 : 0)}x, ${(100 * row.goodput).toFixed(0)} % good${row.violations > 0 ? `, ${row.violations} violations` : ''}`;
    return [
      text(LEFT - 6, at + 10, row.policy, 'text-anchor="end"'),
      `<rect x="${LEFT}" y="${at}" width="${width.toFixed(1)}" height="${ROW - 4}" fill="${fill}"/>`,
      text(LEFT + width + 4, at + 10, label, 'fill="#495057" font-size="9"'),
    ];
  });
  return `<g transform="translate(${x},${y})">${text(LEFT, 12, workload, 'font-weight="bold"')}${bars.join('')}</g>`;
}

export function pictureOf(tables: ReadonlyMap<string, readonly Result[]>): string {
  const rows = Math.max(1, ...[...tables.values()].map((table) => table.length));
  const height = rows * ROW + 40;
  const panels = [...tables].map(([workload, table], index) =>
    panel(workload, table, [(index % 2) * PANEL, TOP + Math.floor(index / 2) * height]),
  );
  const title =
    'p99 time to first token, worst class, over CACHED (logarithmic), and the share of requests within their objective';
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${2 * PANEL}" height="${TOP + Math.ceil(tables.size / 2) * height}" font-family="sans-serif" font-size="11">`,
    '<rect width="100%" height="100%" fill="white"/>',
    text(12, 22, title, 'font-size="13"'),
    ...panels,
    '</svg>\n',
  ].join('\n');
}
