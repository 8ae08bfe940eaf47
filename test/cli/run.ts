// Runs the command line as a person would: a process of its own, its two outputs and its exit code.
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const BIN = fileURLToPath(new URL('../../bin/stepgate.js', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface Run {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves with the match as soon as both outputs together hold it; rejects when the process ends without. */
  says(wanted: RegExp): Promise<RegExpExecArray>;
}

export function begin(args: readonly string[], env: Record<string, string> = {}): Run {
  const child = spawn(process.execPath, [BIN, ...args], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { out: '', err: '' };
  const listeners = new Set<() => void>();
  for (const [name, stream] of [
    ['out', child.stdout],
    ['err', child.stderr],
  ] as const) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said[name] += text;
      for (const listener of listeners) listener();
    });
  }
  const ended = new Promise<Ended>((resolve) => child.once('close', (code) => resolve({ code, ...said })));
  const says = (wanted: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const look = () => {
        const match = wanted.exec(said.out + said.err);
        if (match !== null) resolve(match);
      };
      listeners.add(look);
      look();
      void ended.then(() => reject(new Error(`ended without ${wanted}:\n${said.out}${said.err}`)));
    });
  return { process: child, ended, says };
}

export const run = (args: readonly string[], env?: Record<string, string>): Promise<Ended> => begin(args, env).ended;
