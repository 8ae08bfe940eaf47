// What a command may know of the process around it (main.ts fills it in), how it ends in failure, and how it prints a table.
// No command touches process.env, process.stdout or process.exit.

export interface Terminal {
  /** The caller's key, if it has one. */
  readonly key: string | undefined;
  /** An environment variable, for the names that a config file gives; undefined: it is not set. */
  readonly variable?: (name: string) => string | undefined;
  /** All of it, for the engines that a gateway starts. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Columns of the terminal; infinite where stdout is none, so that nothing is cut from a pipe. */
  readonly width: number;
  /** Whether a person reads stdout. */
  readonly interactive: boolean;
  /** Whether stdout is a terminal that wants colours. */
  readonly colour: boolean;
  /** Results, to stdout; adds the line's end. */
  out(text: string): void;
  /** Everything else, to stderr; adds the line's end. */
  err(text: string): void;
  /** A line on the terminal that the next one replaces; '' ends it. To be used where `interactive` only. */
  show(text: string): void;
  /** Resolves when the person or the supervisor asks for the end (SIGINT, SIGTERM). */
  stopped(): Promise<void>;
  /** Calls back whenever the config is to be read anew (SIGHUP). */
  onReload?(again: () => void): void;
}

/** A command's failure: a sentence that says what to do, for stderr, and exit code 1, or 2 for what was asked wrongly. Any other error is a bug. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exitCode: 1 | 2;

  constructor(message: string, { exitCode = 1 }: { exitCode?: 1 | 2 } = {}) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** For the curl lines that commands print: the caller's key, where it has one, as its shell knows it. */
export const keyHeader = ({ key }: Terminal): readonly string[] =>
  key === undefined ? [] : ['-H "authorization: Bearer $STEPGATE_KEY"'];

/** For what was asked wrongly, as far as a command can tell by itself. */
export const wrong = (message: string): Failure => new Failure(message, { exitCode: 2 });

/** Columns as wide as their widest cell; the last one is cut where the terminal ends. Cells are one line each. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], width: number): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) => {
    const text = cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
    return text.length > width ? `${text.slice(0, width - 1)}…` : text;
  };
  return [line(head), ...rows.map(line)].join('\n');
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: those are meant
const UNPRINTABLE = /\x1b(?!\[[\d;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]/g;

/** What a terminal may be shown: names in other people's files (tensors, metrics, bases) could move its cursor or set its title. Colours stay. */
export const printable = (text: string): string => text.replace(UNPRINTABLE, '\ufffd');

/** 1_234_567 -> `1.2 MB`. */
export function sayBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = bytes < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

/** Milliseconds -> `12 s`, `3 min`, `5 h`, `2 d`. */
export function sayAge(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}
