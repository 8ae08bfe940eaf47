// `stepgate up NAME --checkpoint ...`: have the gateway start an engine for a checkpoint where none serves it, and wait until it is ready.
// Thin over the admin API.
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { z } from 'zod';
import { AdminClient, type AdminOptions, check, engine, withAdmin } from './admin-client.ts';
import { whole } from './arguments.ts';
import { Failure, keyHeader, sayAge, type Terminal, wrong } from './terminal.ts';

const LOOK_MS = 250;
/** To a file or a pipe no more than a line in this time. */
const SAY_MS = 5_000;
const CHARACTERS_MAX = 160;

interface UpOptions extends AdminOptions {
  readonly checkpoint: string;
  readonly engineCommand?: string;
  readonly root?: string;
  readonly port?: number;
  readonly wait: number;
  readonly own?: boolean;
  readonly json?: boolean;
}

const served = z.object({ servedBy: z.string(), model: z.string(), url: z.string() });
const started = engine.extend({ endpoint: z.string() });
type Engine = z.output<typeof engine>;

export function upCommand(terminal: Terminal): Command {
  return withAdmin(new Command('up'))
    .summary('start an engine for a checkpoint, where none serves it')
    .description(
      'Ask for a checkpoint in one command: where a running backend serves its base, that one is named. Else the gateway starts an engine of its own on its machine (vLLM, found on its PATH), waits until it is ready, and places requests there.\nThe engine is started again when it ends, and goes on when the gateway ends: "stepgate down NAME" ends it.',
    )
    .argument('<name>', 'what to call the engine, such as gpu-0')
    .argument('[flags...]', 'after "--": flags for the engine, which go as they are and win over ours')
    .requiredOption(
      '--checkpoint <which>',
      'my-model@5, an id, or the directory of a full model, which is then asked for as NAME',
    )
    .option('--own', 'start one also where a running backend serves it')
    .option('--root <where>', "the base: its directory, or a hub's id (default: what the checkpoint says)")
    .option('--port <n>', 'where it listens (default: one that is free)', whole(1, 65_535))
    .option('--wait <seconds>', 'how long it may take to get ready', whole(1, 86_400), 600)
    .option('--engine-command <command>', 'a name of engines.commands in the config, or "/path/to/vllm serve"')
    .option('--json', "print the admin API's last answer")
    .configureOutput({
      outputError: (text, write) =>
        write(text.includes('unknown option') ? `${text}(flags for the engine go after "--")\n` : text),
    })
    .addHelpText(
      'after',
      [
        '',
        'Examples:',
        '  stepgate up gpu-0 --checkpoint my-model@5',
        '  stepgate up gpu-0 --checkpoint my-model@5 -- --max-loras 8 --dtype bfloat16',
        '  stepgate up merged --checkpoint /models/merged --wait 1200',
      ].join('\n'),
    )
    .action((name: string, flags: string[], options: UpOptions) => up({ name, flags, options }, terminal));
}

interface Asked {
  readonly name: string;
  readonly flags: readonly string[];
  readonly options: UpOptions;
}

async function up({ name, flags, options }: Asked, terminal: Terminal): Promise<void> {
  const [first] = flags;
  if (first !== undefined && !first.startsWith('-'))
    throw wrong(`"${first}": one engine has one name; flags for the engine go after "--" and begin with "-"`);
  const admin = await AdminClient.of(options, terminal);
  const { own = false, wait, port, root, engineCommand: command, json = false } = options;
  const answer = await admin.ask('POST', '/engines', {
    ...{ name, flags, own, port, command },
    checkpoint: wholePath(options.checkpoint),
    root: root?.startsWith('.') ? resolve(root) : root,
    waitMs: wait * 1_000,
  });
  const running = served.safeParse(answer);
  if (running.success) {
    if (json) return terminal.out(JSON.stringify(answer, null, 2));
    const { servedBy, model, url } = running.data;
    const what = servedBy === name ? `${name} serves ${model} already` : `${servedBy} serves ${model}: none is started`;
    terminal.out(`${what} (--own starts one all the same)\n${sayHow(model, url, terminal)}`);
    return;
  }
  const { endpoint, log, pid } = check(answer, started);
  if (!json) terminal.out(`starting ${name}: log ${log}; Ctrl-C leaves it starting, "stepgate down ${name}" ends it`);
  const since = performance.now();
  const last = await untilReady(check(answer, engine), {
    look: () => admin.get(`/engines/${encodeURIComponent(name)}`, engine),
    ...(json ? { terminal: undefined } : { terminal }),
  });
  if (json) terminal.out(JSON.stringify(last, null, 2));
  if (last.state !== 'up') throw failed(last, terminal);
  if (json) return;
  terminal.out(`${name} is up after ${sayAge(performance.now() - since)}, at ${last.url} (process ${last.pid ?? pid})`);
  terminal.out(sayHow(last.model ?? name, endpoint, terminal));
}

function failed({ name, state, about, log, lines }: Engine, terminal: Terminal): Failure {
  for (const line of lines) terminal.err(`| ${line}`);
  return new Failure(`${name} did not get ready: ${about ?? state}. Nothing of it is left but its log: ${log}`);
}

interface Watching {
  readonly look: () => Promise<Engine>;
  /** Undefined: progress is not shown. */
  readonly terminal: Terminal | undefined;
}

async function untilReady(first: Engine, { look, terminal }: Watching): Promise<Engine> {
  const since = performance.now();
  let [now, saidAt] = [first, since];
  while (now.state === 'starting' || now.state === 'stopping') {
    const text = `${now.name}: ${sayAge(performance.now() - since)}: ${now.lines.at(-1) ?? 'nothing said yet'}`;
    if (terminal?.interactive) terminal.show(text.slice(0, terminal.width - 1));
    else if (performance.now() - saidAt >= SAY_MS) {
      terminal?.out(text.slice(0, CHARACTERS_MAX));
      saidAt = performance.now();
    }
    await sleep(LOOK_MS);
    now = await look();
  }
  if (terminal?.interactive) terminal.show('');
  return now;
}

function sayHow(model: string, url: string, terminal: Terminal): string {
  const head = [`curl ${url}/v1/completions -H 'content-type: application/json'`, ...keyHeader(terminal)].join(' ');
  return [
    `ask for "${model}" at ${url}/v1:`,
    `  ${head} \\`,
    `    -d '${JSON.stringify({ model, prompt: 'Hello', max_tokens: 16 })}'`,
  ].join('\n');
}

/** A directory of here is told to the gateway by its whole path. */
function wholePath(checkpoint: string): string {
  if (/^\.{0,2}\//.test(checkpoint) || checkpoint === '.') return resolve(checkpoint);
  return statSync(checkpoint, { throwIfNoEntry: false })?.isDirectory() ? resolve(checkpoint) : checkpoint;
}
