// Reads the few families that we need out of a Prometheus exposition text (format 0.0.4), without parsing the rest of it.

export interface Series {
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

/** All series of one family, in the text's order; those whose value is no finite number are left out. */
export function seriesOf(text: string, family: string): Series[] {
  // A family is letters, digits, "_" and ":", nothing to escape. The labels end at the line's last brace: a brace inside of a label's value is no end.
  const lines = text.matchAll(new RegExp(`^${family}(?:\\{(.*)\\})? +(\\S+)(?: +-?\\d+)?$`, 'gm'));
  return [...lines]
    .map(([, labels, value]) => ({ labels: parseLabels(labels ?? ''), value: Number(value) }))
    .filter(({ value }) => Number.isFinite(value));
}

/** Whether the process has the family at all, with series or without. */
export const declares = (text: string, family: string): boolean => text.includes(`# TYPE ${family} `);

const ESCAPES: Record<string, string> = { '\\n': '\n', '\\"': '"', '\\\\': '\\' };

/** Longer ones are not read: what they hold are lists of names, and nothing that we look for. */
const LABELS_CHARS_MAX = 64 * 1024;

/** Up to the first that is no label. Sticky: searching for the next one takes the square of what lies between. */
function parseLabels(text: string): Map<string, string> {
  if (text.length > LABELS_CHARS_MAX) return new Map();
  const pairs = text.matchAll(/\s*([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"\s*(?:,|$)/gy);
  return new Map(
    [...pairs].map(([, name, value]) => [
      String(name),
      String(value).replace(/\\./g, (escaped) => ESCAPES[escaped] ?? escaped),
    ]),
  );
}
