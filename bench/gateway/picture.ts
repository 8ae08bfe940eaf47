// The results as one SVG: a panel per scenario, a bar per contender, CPU time per request (or chunk) over stepgate's, logarithmic.
import type { Results } from './goals.ts';
import { SCENARIOS } from './scenarios.ts';

const [PANEL, ROW, LEFT, BARS, TOP] = [460, 18, 90, 210, 46];
/** From a tenth of stepgate's cost to a thousand times. */
const [LEAST, MOST] = [0.1, 1000];

const text = (x: number, y: number, content: string, rest = ''): string =>
  `<text x="${x}" y="${y}" ${rest}>${content}</text>`;

const widthOf = (times: number): number => {
  const share = Math.log(Math.min(MOST, Math.max(LEAST, times)) / LEAST) / Math.log(MOST / LEAST);
  return Math.max(2, BARS * share);
};

function panel(title: string, row: Results[string], [x, y]: readonly [number, number]): string {
  const measured = Object.entries(row).filter(([, { cpuUs }]) => cpuUs > 0);
  const ours = (row.stepgate ?? measured[0]?.[1])?.cpuUs ?? 1;
  const bars = measured.map(([name, { cpuUs }], index) => {
    const at = index * ROW + 22;
    const width = widthOf(cpuUs / ours);
    const fill = name === 'stepgate' || row.stepgate === undefined ? '#d9480f' : '#74a9d8';
    const label = `${cpuUs.toFixed(cpuUs < 100 ? 1 : 0)} us, ${(cpuUs / ours).toFixed(2)} x`;
    return [
      text(LEFT - 6, at + 11, name, 'text-anchor="end"'),
      `<rect x="${LEFT}" y="${at}" width="${width.toFixed(1)}" height="${ROW - 4}" fill="${fill}"/>`,
      text(LEFT + width + 4, at + 11, label, 'fill="#495057" font-size="9"'),
    ].join('');
  });
  return `<g transform="translate(${x},${y})">${text(12, 12, title, 'font-weight="bold"')}${bars.join('')}</g>`;
}

export function pictureOf(results: Results): string {
  const shown = SCENARIOS.flatMap(({ id, title }) => {
    const row = results[id];
    return row === undefined ? [] : [{ title, row }];
  });
  const rows = Math.max(1, ...shown.map(({ row }) => Object.keys(row).length));
  const height = rows * ROW + 36;
  const panels = shown.map(({ title, row }, index) =>
    panel(title, row, [(index % 2) * PANEL, TOP + Math.floor(index / 2) * height]),
  );
  const size = `width="${2 * PANEL}" height="${TOP + Math.ceil(shown.length / 2) * height}"`;
  const title = 'CPU time per request (slow streams: per chunk), and as a multiple of stepgate’s; bars are logarithmic';
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="11">`,
    `<title>${title}</title>`,
    '<rect width="100%" height="100%" fill="white"/>',
    text(12, 22, title, 'font-size="13"'),
    ...panels,
    '</svg>\n',
  ].join('\n');
}
