// What is known of processes: whose they are, also after a start of the machine, and what is believed where that cannot be looked up.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LogFile } from '../../src/engines/log-file.ts';
import { endProcess, type ProcessId, processOf } from '../../src/engines/processes.ts';
import { lives } from './house.ts';

let home: string;
let log: LogFile;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'stepgate-processes-'));
  log = new LogFile(join(home, 'log'));
  await log.begin();
});
afterEach(() => rm(home, { recursive: true, force: true }));

/** A session whose leader has ended, and what it left there. */
async function orphan(): Promise<{ leader: ProcessId; left: number }> {
  const shell = spawn('sh', ['-c', 'sleep 1000 >/dev/null & echo $!; read line'], {
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const { pid = 0, born = '' } = processOf(shell.pid ?? 0) ?? {};
  const said = text(shell.stdout);
  shell.stdin.end('\n');
  await once(shell, 'exit');
  return { leader: { pid, born }, left: Number(await said) };
}

test('what an engine has left in its session is ended with it, but not a session of its number from after a start of the machine', async () => {
  const { leader, left } = await orphan();
  const [, ticks = ''] = leader.born.split(' ');
  await endProcess({ ...leader, born: `another-boot ${ticks}` }, log, { graceMs: 1_000 });
  expect(lives(left)).toBe(true);
  await endProcess(leader, log, { graceMs: 1_000 });
  expect(lives(left)).toBe(false);
});

test('an engine lives while it cannot be looked up because the gateway has no file left to open', async () => {
  const script = `
    import { openSync } from 'node:fs';
    import { LogFile } from ${JSON.stringify(new URL('../../src/engines/log-file.ts', import.meta.url).href)};
    import { findProcess, processOf } from ${JSON.stringify(new URL('../../src/engines/processes.ts', import.meta.url).href)};
    const { pid, born } = processOf(process.ppid);
    try {
      for (;;) openSync('/dev/null');
    } catch (error) {
      console.log(error.code);
    }
    const found = await findProcess({ pid, born }, new LogFile('/nowhere'));
    console.log(found?.pid === pid ? 'it lives' : 'it has ended');
  `;
  const shell = `ulimit -n 64; "$0" --input-type=module -e "$1" & wait`;
  const { stdout } = await promisify(execFile)('sh', ['-c', shell, process.execPath, script]);
  expect(stdout).toBe('EMFILE\nit lives\n');
});
