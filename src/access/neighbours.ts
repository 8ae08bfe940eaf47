// Which user of this machine is at the other end of a loopback connection. Asked where no admin key exists yet: then the admin API is for the
// gateway's own user and root, not for all who have an account here. The kernel says it, in proc_net_tcp(5).
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { endianness } from 'node:os';
import { StepgateError } from '../errors.ts';

const ROOT = 0;
const ESTABLISHED = '01';
const MAPPED = '0000000000000000FFFF0000'; // ::ffff:a.b.c.d

/** Those that were found to be of one who may: a connection keeps its user. */
const ours = new WeakSet<Socket>();

/** Everybody is let in where the kernel has no such table: there is one on Linux alone. @throws StepgateError forbidden */
export async function checkNeighbour(socket: Socket): Promise<void> {
  const own = process.geteuid?.();
  if (process.platform !== 'linux' || own === undefined || ours.has(socket)) return;
  const user = await userOf(socket);
  if (user === own || user === ROOT) return void ours.add(socket);
  const [who, is] = [own === ROOT ? 'root' : `user ${own}, as whom the gateway runs, and root`, user ?? 'unknown'];
  throw new StepgateError(
    'forbidden',
    `there is no admin key yet, and until there is the admin API is for ${who} alone (you are user ${is}); have one of them make a key: stepgate keys root --scope admin`,
  );
}

/** The user id that owns the other end. Undefined: it is no process of this machine's, or it has closed its end (the kernel then names root). */
export async function userOf({
  remoteAddress = '',
  remotePort = 0,
  localAddress = '',
  localPort = 0,
}: Socket): Promise<number | undefined> {
  // Both ends, whole: of one end alone there may be another connection, which the kernel gives to root until somebody has accepted it.
  const theirs = endOf(remoteAddress, remotePort);
  const here = endOf(localAddress, localPort);
  // By the process, for a hardened unit sees no other part of /proc (ProcSubset=pid).
  for (const table of ['/proc/self/net/tcp', '/proc/self/net/tcp6']) {
    for (const line of (await readFile(table, 'latin1').catch(() => '')).split('\n')) {
      const [, local = '', remote = '', state, , , , user] = line.trim().split(/ +/);
      if (state === ESTABLISHED && bare(local) === theirs && bare(remote) === here) return Number(user);
    }
  }
  return undefined;
}

const bare = (end: string): string => (end.startsWith(MAPPED) ? end.slice(MAPPED.length) : end);

/** As the kernel writes it: 32-bit words in the machine's byte order. Of IPv6, the one loopback address is enough. */
function endOf(address: string, port: number): string {
  const bytes =
    address === '::1' ? [...Array(12).fill(0), 0, 0, 0, 1] : address.replace('::ffff:', '').split('.').map(Number);
  const words = Buffer.from(bytes);
  if (endianness() === 'LE' && words.length % 4 === 0) words.swap32();
  return `${words.toString('hex')}:${port.toString(16).padStart(4, '0')}`.toUpperCase();
}
