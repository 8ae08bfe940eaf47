// Where the log goes: pino's JSON lines to stdout for machines, one short line each for a person at a terminal.
import pino, { type Logger } from 'pino';

export const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

export interface LogOptions {
  readonly level: (typeof LEVELS)[number];
  /** One short line a record, instead of JSON. */
  readonly readable: boolean;
  out(text: string): void;
}

export function createLog(options: LogOptions): Logger {
  const settings = { level: options.level, base: null };
  return pino(settings, { write: (json: string) => options.out(options.readable ? readable(json) : json.trimEnd()) });
}

/** `{"level":30,"time":...,"msg":"loaded","adapter":"m@5"}` -> `12:00:01 loaded adapter=m@5`. */
function readable(json: string): string {
  const { level, time, msg, ...rest } = JSON.parse(json) as { level: number; time: number; msg?: string } & Record<
    string,
    unknown
  >;
  const clock = new Date(time).toTimeString().slice(0, 8);
  const name = level >= 50 ? 'ERROR ' : level >= 40 ? 'warn  ' : '';
  const fields = Object.entries(rest).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return `${clock} ${name}${[msg ?? '', ...fields].join(' ')}`;
}
