// `stepgate drain BACKEND`: nothing new goes to an engine from now on; waits until nothing runs there any more. Thin over the admin API.
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import type { z } from 'zod';
import { AdminClient, type AdminOptions, backend, check, withAdmin } from './admin-client.ts';
import { sayAge, type Terminal } from './terminal.ts';

const LOOK_MS = 250;
/** To a file or a pipe no more than a line in this time. */
const SAY_MS = 5_000;

interface DrainOptions extends AdminOptions {
  readonly off?: boolean;
  readonly force?: boolean;
  readonly wait: boolean;
  readonly json?: boolean;
}

type Backend = z.output<typeof backend>;

export function drainCommand(terminal: Terminal): Command {
  return withAdmin(new Command('drain'))
    .summary('empty an engine for maintenance, without a failed request')
    .description(
      'Give an engine nothing new: no requests, no loads. What runs there ends, who waits goes elsewhere. Waits until nothing runs there any more.\nIt stays so, whatever is restarted, until --off.',
    )
    .argument('<backend>', 'its name, as "stepgate ps" lists it')
    .option('--off', 'use it again')
    .option('--force', 'also if no other engine serves its base: requests wait for it then')
    .option('--no-wait', 'do not wait until it is empty')
    .option('--json', "print the admin API's last answer")
    .addHelpText('after', '\nExamples:\n  stepgate drain gpu-1\n  stepgate drain gpu-1 --off')
    .action(async (name: string, options: DrainOptions) => {
      const admin = await AdminClient.of(options, terminal);
      const path = `/backends/${encodeURIComponent(name)}`;
      const say = (answer: unknown, text: string) =>
        terminal.out(options.json ? JSON.stringify(answer, null, 2) : text);
      if (options.off) {
        const answer = await admin.ask('DELETE', `${path}/drain`);
        return say(answer, `${name} is used again`);
      }
      const answer = await admin.ask('POST', `${path}/drain`, { force: options.force ?? false });
      if (!options.wait) return say(answer, sayProgress(check(answer, backend)));
      if (!options.json)
        terminal.out(`draining ${name}: nothing new goes there; to take it back: stepgate drain ${name} --off`);
      const since = performance.now();
      const last = await untilDrained(check(answer, backend), {
        look: () => admin.get(path, backend),
        ...(options.json ? { terminal: undefined } : { terminal }),
      });
      if (last.drain == null) return say(last, `${name} was taken back, and is used again`);
      say(last, `drained ${name} in ${sayAge(performance.now() - since)}: nothing runs there any more`);
    });
}

interface Watching {
  readonly look: () => Promise<Backend>;
  /** Undefined: progress is not shown. */
  readonly terminal: Terminal | undefined;
}

/** The last answer: it is drained, or was taken back. */
export async function untilDrained(first: Backend, { look, terminal }: Watching): Promise<Backend> {
  let [now, said, saidAt] = [first, '', Number.NEGATIVE_INFINITY];
  while (now.drain?.state === 'draining') {
    const text = sayProgress(now);
    if (terminal?.interactive) terminal.show(text.slice(0, terminal.width));
    else if (text !== said && performance.now() - saidAt >= SAY_MS) {
      terminal?.out(text);
      [said, saidAt] = [text, performance.now()];
    }
    await sleep(LOOK_MS);
    now = await look();
  }
  if (terminal?.interactive) terminal.show('');
  return now;
}

/** `gpu-1: 3 requests run there still: my-model@5 2, my-model@6 1`. */
function sayProgress({ name, drain, inFlight, adapters }: Backend): string {
  if (drain?.state !== 'draining') return `${name}: nothing runs there`;
  const loading = adapters.filter(({ state }) => state === 'loading').length;
  if (inFlight === 0)
    return loading > 0 ? `${name}: an adapter is loading there still` : `${name}: an adapter is unloading there still`;
  const on = adapters.flatMap((held) => (held.inFlight > 0 ? [`${held.name ?? held.adapter} ${held.inFlight}`] : []));
  const what = inFlight === 1 ? '1 request runs' : `${inFlight} requests run`;
  return `${name}: ${what} there still${on.length === 0 ? '' : `: ${on.join(', ')}`}`;
}
