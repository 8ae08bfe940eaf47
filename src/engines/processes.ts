// Processes that outlive the gateway: started in a session of their own, found again by number and birth, or by the log that they write, and
// ended with all that belongs to them. Linux only: what it knows is in /proc. It decides nothing.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, readFileSync } from 'node:fs';
import { access, constants, readdir, stat } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LogFile } from './log-file.ts';

const LOOK_MS = 250;
const KILL_LOOK_MS = 50;
const KILL_AGAIN_MS = 1_000;

export interface ProcessId {
  readonly pid: number;
  /** Of the machine's start and its own: no other process of this number has the same. */
  readonly born: string;
}

export const isSupported = (): boolean => process.platform === 'linux';

/** undefined: there is none of this number, or one that has ended already. @throws Error when the gateway can open no more files */
export function processOf(pid: number): (ProcessId & { readonly session: number }) | undefined {
  const text = readOrNothing(`/proc/${pid}/stat`);
  // The name in brackets may hold spaces and brackets: proc_pid_stat(5).
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, , , session] = fields ?? [];
  const started = fields?.[22 - 3];
  if (started === undefined || state === 'Z' || state === 'X') return undefined;
  return { pid, born: `${bootId()} ${started}`, session: Number(session) };
}

let boot: string | undefined;
function bootId(): string {
  boot ??= readOrNothing('/proc/sys/kernel/random/boot_id')?.trim() ?? '';
  return boot;
}

/** Also where that cannot be told now: what is taken for ended is killed and started again. */
function isAlive({ pid, born }: ProcessId): boolean {
  try {
    return processOf(pid)?.born === born;
  } catch {
    return true;
  }
}

/** The engine that was started last, while it lives: of this number and birth, else the one that leads a session and writes this log. */
export async function findProcess(known: ProcessId | undefined, log: LogFile): Promise<ProcessId | undefined> {
  if (known !== undefined && isAlive(known)) return known;
  const leaders = (await membersOf(known, log)).filter(({ pid, session }) => pid === session);
  return leaders.length === 1 ? leaders[0] : undefined;
}

/**
 * All of its session, and all that write its log. A number is not given away while a session of that number has members; but after a start of the
 * machine it is a stranger's.
 */
async function membersOf(leader: ProcessId | undefined, log: LogFile) {
  const file = await stat(log.path).catch(() => undefined);
  const isOther =
    leader !== undefined &&
    !isAlive(leader) &&
    (processOf(leader.pid) !== undefined || !leader.born.startsWith(`${bootId()} `));
  const numbers = (await readdir('/proc')).map(Number).filter((pid) => pid > 1 && pid !== process.pid);
  const found = await Promise.all(
    numbers.map(async (pid) => {
      const one = processOf(pid);
      if (one === undefined) return [];
      if (leader !== undefined && !isOther && one.session === leader.pid) return [one];
      const out = file && (await stat(`/proc/${pid}/fd/1`).catch(() => undefined));
      return out !== undefined && out.ino === file?.ino && out.dev === file.dev ? [one] : [];
    }),
  );
  return found.flat();
}

interface Ending {
  /** Between asking and killing. */
  readonly graceMs: number;
  /** Leaves what still lives then. */
  readonly signal?: AbortSignal;
}

/** Ends an engine and all that it started: asked first, killed after `graceMs`. Resolves when none of it lives, or with the signal. */
export async function endProcess(
  leader: ProcessId | undefined,
  log: LogFile,
  { graceMs, signal }: Ending,
): Promise<void> {
  const killAt = performance.now() + graceMs;
  while (!signal?.aborted) {
    const members = await membersOf(leader, log).catch(() => undefined); // no more files can be opened: looked again
    if (members?.length === 0) return;
    const isLate = performance.now() >= killAt;
    for (const { pid } of members ?? []) send(pid, isLate ? 'SIGKILL' : 'SIGTERM');
    const nextAt = isLate ? performance.now() + KILL_AGAIN_MS : killAt;
    // To list all processes of the machine takes its time, in which the gateway does nothing else.
    do await sleep(KILL_LOOK_MS, undefined, { signal }).catch(() => {});
    while (!signal?.aborted && performance.now() < nextAt && members?.some(isAlive));
  }
}

function send(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended meanwhile.
  }
}

export interface Started extends ProcessId {
  /** Resolves with how it ended, in words. */
  readonly ended: Promise<string>;
}

/** In a session of its own; its output goes into the log. The gateway may end without it. @throws Error when the system refuses */
export async function startProcess(
  argv: readonly string[],
  { env, log }: { env: NodeJS.ProcessEnv; log: LogFile },
): Promise<Started> {
  const [program = '', ...rest] = argv;
  const out = log.open();
  let child: ChildProcess;
  try {
    child = spawn(program, rest, { env, detached: true, stdio: ['ignore', out, out] });
  } finally {
    closeSync(out);
  }
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, by) => resolve(by === null ? `it ended with code ${code}` : `it was ended by ${by}`));
  });
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
  child.unref();
  const pid = child.pid ?? 0;
  return { pid, born: processOf(pid)?.born ?? `${bootId()} ended`, ended };
}

/** One that an earlier gateway started: nobody tells us of its end. `signal` stops the looking. */
export function watchProcess(id: ProcessId, signal: AbortSignal): Started {
  const look = async () => {
    while (isAlive(id)) await sleep(LOOK_MS, undefined, { signal, ref: false });
    return 'it ended';
  };
  return { ...id, ended: look().catch(() => new Promise<string>(() => {})) };
}

/** Where a program is, by the rules of execvp; undefined: nowhere. */
export async function findProgram(program: string, path: string | undefined): Promise<string | undefined> {
  const candidates = isAbsolute(program)
    ? [program]
    : (path ?? '').split(delimiter).flatMap((dir) => (dir === '' ? [] : [join(dir, program)]));
  for (const candidate of candidates) {
    const isProgram = await Promise.all([stat(candidate), access(candidate, constants.X_OK)]).then(
      ([found]) => found.isFile(),
      () => false,
    );
    if (isProgram) return candidate;
  }
  return undefined;
}

/** Undefined: it is not there, or not for us to see. */
function readOrNothing(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (['EMFILE', 'ENFILE', 'ENOMEM'].includes(code)) throw error;
    return undefined;
  }
}
