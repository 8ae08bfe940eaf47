// How the gateway ends without a request lost: readiness says no, new requests are turned away, those under way end, and what is left after
// `shutdown.graceMs` is told and cut. It says in the log what it waits for. Closing what was opened is serve.ts's.
import type { Logger } from 'pino';
import type { Door } from './door.ts';
import type { Gateway } from './gateway.ts';

/** While it waits, it says so this often. */
const SAY_EVERY_MS = 10_000;

interface Ending {
  readonly gateway: Gateway;
  readonly door: Door;
  readonly log: Logger;
}

/** Resolves when nothing is under way any more. */
export async function endRequests({ gateway, door, log }: Ending): Promise<void> {
  const { graceMs } = gateway.config.shutdown;
  const since = performance.now();
  const left = () => ({ requests: gateway.inFlight, waiting: gateway.router.state.waiting });
  const ended = Promise.all([gateway.drain(), door.idle()]);
  door.turnAway();
  log.info(
    { ...left(), graceMs },
    'stopping: new requests are turned away, those under way may end; once more, and they are cut',
  );
  const say = setInterval(() => log.info(left(), 'stopping: requests are under way still'), SAY_EVERY_MS);
  let alarm: NodeJS.Timeout | undefined;
  const grace = new Promise<'over'>((resolve) => {
    alarm = setTimeout(() => resolve('over'), graceMs);
  });
  if ((await Promise.race([ended, grace])) === 'over') {
    log.warn({ ...left(), graceMs }, 'stopping: these have not ended in shutdown.graceMs, and are cut');
    gateway.cut('the gateway is stopping, and could not wait any longer; ask again in a moment');
  }
  clearInterval(say);
  clearTimeout(alarm);
  log.info({ tookMs: Math.round(performance.now() - since) }, 'stopped');
}
