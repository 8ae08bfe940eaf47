// What the options of several commands are given, read and checked before anything is asked of a gateway.
import { type Command, InvalidArgumentError } from 'commander';

/** For an option whose argument is a whole number. */
export const whole = (min: number, max: number) => (text: string) => {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new InvalidArgumentError(`Give a whole number from ${min} to ${max}.`);
};

/** Ends with wrong usage where one of `options` was given: they say nothing without `what`, and would be passed over without a word. */
export function goWith(what: string, options: readonly string[], self: Command): void {
  const given = options.find((name) => self.getOptionValueSource(name) === 'cli');
  if (given !== undefined) self.error(`error: --${given} goes with ${what}`);
}
