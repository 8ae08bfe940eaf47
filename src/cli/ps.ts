// `stepgate ps`: which adapter is where, now, which engines are the gateway's own, and how far the sweeps are. Reads the admin API and prints; decides nothing.
import { Command } from 'commander';
import type { z } from 'zod';
import { AdminClient, type AdminOptions, backends, engines, quarantine, sweeps, withAdmin } from './admin-client.ts';
import { sayAge, type Terminal, table } from './terminal.ts';
import { sayUntil } from './times.ts';

export function psCommand(terminal: Terminal): Command {
  return withAdmin(new Command('ps'))
    .summary('list backends, the adapters that they hold, and running sweeps')
    .description(
      'List the backends and, for each, what speaks there and the adapters in its slots: their state and their requests in flight. Then the running sweeps: how far each is.',
    )
    .option('--json', "print the admin API's answer")
    .addHelpText(
      'after',
      '\nExamples:\n  stepgate ps\n  watch -n1 stepgate ps\n  stepgate ps --json | jq ".data[].state"',
    )
    .action(async (options: AdminOptions & { json?: boolean }) => {
      const admin = await AdminClient.of(options, terminal);
      if (options.json) {
        const { data } = await admin.get('/engines', engines);
        const answer = await admin.ask('GET', '/backends');
        terminal.out(JSON.stringify({ ...(answer as object), engines: data }, null, 2));
      } else {
        print((await admin.get('/backends', backends)).data, terminal);
        printEngines((await admin.get('/engines', engines)).data, terminal);
        printQuarantine((await admin.get('/quarantine', quarantine)).data, terminal);
        printSweeps((await admin.get('/sweeps', sweeps)).data, terminal);
      }
    });
}

function print(rows: z.output<typeof backends>['data'], terminal: Terminal): void {
  if (rows.length === 0) {
    terminal.out('no backends: list them under "backends" in the config, or "stepgate up" one');
    return;
  }
  const cells = rows.flatMap((row) => {
    const slots = row.slots == null ? (row.kind === HOSTED ? '-' : '?') : `${row.slots}`;
    const held = `${row.adapters.length}/${slots}`;
    const own = [row.name, stateOf(row), held, `${row.inFlight}`, row.kind ?? '', row.from, row.url];
    return [
      own,
      ...row.adapters.map((held) => [`  ${held.name ?? held.adapter}`, held.state, '', `${held.inFlight}`, '', '', '']),
    ];
  });
  const head = ['BACKEND, ADAPTER', 'STATE', 'SLOTS', 'IN FLIGHT', 'KIND', 'FROM', 'URL'];
  terminal.out(table(head, cells, terminal.width));
  for (const { name, state, about, drain, ejected } of rows) {
    if (state !== 'up' && about) terminal.out(`${name}: ${about}`);
    else if (ejected) terminal.out(`${name}: ${sayEjected(ejected)}`);
    if (drain != null)
      terminal.out(
        `${name}: ${drain.state} for ${sayAge(Date.now() - Date.parse(drain.since))} (${drain.who}); to use it again: stepgate drain ${name} --off`,
      );
  }
}

/** It has no slots. */
const HOSTED = 'openai-compatible';

/** Those that the gateway started; one that has not been ready yet is no backend. */
function printEngines(rows: z.output<typeof engines>['data'], terminal: Terminal): void {
  if (rows.length === 0) return;
  const cells = rows.map((row) => [
    row.name,
    engineState(row),
    row.pid == null ? '' : `${row.pid}`,
    `${row.restarts ?? 0}`,
    row.model ?? '',
    row.url ?? '',
  ]);
  terminal.out(`\n${table(['ENGINE', 'STATE', 'PROCESS', 'RESTARTS', 'FOR', 'URL'], cells, terminal.width)}`);
  for (const { name, state, about, lines } of rows) {
    if (state === 'restarting') terminal.out(`${name}: ${about}; what it said: stepgate logs ${name}`);
    if (state !== 'failed') continue;
    terminal.out(`${name}: ${about}; to try again: stepgate down ${name}, then up. It said at last:`);
    for (const line of lines.slice(-5)) terminal.out(`| ${line}`.slice(0, terminal.width));
  }
}

/** `starting 12 s`, `up 3 h`, `restarting in 4 s`. */
function engineState({ state, since, at }: z.output<typeof engines>['data'][number]): string {
  if (at != null) return `${state} in ${sayAge(Date.parse(at) - Date.now())}`;
  return since == null ? state : `${state} ${sayAge(Date.now() - Date.parse(since))}`;
}

type Row = z.output<typeof backends>['data'][number];

/** What requests showed matters only while it answers. */
function stateOf({ state, ejected, drain }: Row): string {
  if (state !== 'up') return drain ? `${state}, ${drain.state}` : state;
  if (drain) return drain.state;
  return ejected ? (ejected.trial ? 'trial' : 'ejected') : state;
}

const sayEjected = ({ trial, until }: NonNullable<Row['ejected']>): string =>
  trial || until === null
    ? 'its requests failed; one at a time tries it now'
    : `its requests failed; nothing new is placed there for ${sayUntil(until)}`;

function printQuarantine(rows: z.output<typeof quarantine>['data'], terminal: Terminal): void {
  for (const { name, about, state, until } of rows) {
    const next = state === 'trial' ? 'on trial' : sayUntil(until);
    terminal.out(`quarantine of ${name}, ${next}: ${about}`);
  }
}

function printSweeps(rows: z.output<typeof sweeps>['data'], terminal: Terminal): void {
  const running = rows.filter(({ state }) => state === 'running');
  if (running.length === 0) return;
  const cells = running.map((row) => [
    row.model,
    `${row.stepsDone}/${row.steps.length}`,
    `${row.done}/${row.expected}`,
    `${row.failed}`,
    `${row.running}`,
    `${row.waiting}`,
    `${row.perSecond}/s`,
    row.etaMs === null ? '?' : sayAge(row.etaMs),
    row.owner ?? row.origin,
  ]);
  const head = ['SWEEP OF', 'STEPS', 'REQUESTS', 'FAILED', 'RUN', 'WAIT', 'RATE', 'LEFT', 'BY'];
  terminal.out(`\n${table(head, cells, terminal.width)}`);
}
