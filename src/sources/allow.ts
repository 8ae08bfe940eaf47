// What `sources.allow` of the config allows. Pure. A pattern is the beginning of a source, by whole parts between slashes, in each of which
// `*` stands for any letters: hf:my-org/* is every repo of it, s3://ckpts/runs what is under runs/.

/** What a pattern may look like, as whatever may be asked for does; config-sources.ts holds it against each. */
export const PATTERN = /^((hf:|s3:\/\/|mlflow:|wandb:)[^/\s].*|https?:\/\/[^/\s?#][^\s?#]*)$/;

export function isAllowed(patterns: readonly string[], subject: string): boolean {
  return patterns.some((pattern) => matches(pattern, subject));
}

/** Whether the host of the URL is written out in a pattern that allows it, so that it is meant, whatever its address. */
export function isMeant(patterns: readonly string[], url: URL): boolean {
  return patterns.some((pattern) => partsOf(pattern)[2] === url.host && matches(pattern, subjectOfUrl(url)));
}

export const subjectOfUrl = (url: URL): string => url.origin + url.pathname;

/** `cdn.example.com`, or `*.example.com` for those below it. */
export const matchesHost = (patterns: readonly string[], host: string): boolean =>
  patterns.some((pattern) => matchesPart(pattern.toLowerCase(), host));

function matches(pattern: string, subject: string): boolean {
  const wanted = partsOf(pattern);
  const found = partsOf(subject);
  return wanted.length <= found.length && wanted.every((part, index) => matchesPart(part, found[index] ?? ''));
}

const partsOf = (text: string): string[] => text.replace(/\/+$/, '').split('/');

/** By hand: a pattern made into a regular expression could take for ever. */
function matchesPart(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return pattern === text;
  if (!text.startsWith(first) || text.length < first.length + last.length || !text.endsWith(last)) return false;
  let at = first.length;
  for (const piece of rest) {
    const found = text.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return at <= text.length - last.length;
}
