// The command line: the only reader of the environment, and the only place that ends the process.
// Each command is a file in cli/; exit codes are 0 done, 1 failed (a line on stderr), 2 wrong usage.
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { type Argument, Command } from 'commander';
import { aliasCommand } from './cli/alias.ts';
import { auditCommand } from './cli/audit.ts';
import { demoCommand } from './cli/demo.ts';
import { deployCommand } from './cli/deploy.ts';
import { doctorCommand } from './cli/doctor.ts';
import { downCommand } from './cli/down.ts';
import { drainCommand } from './cli/drain.ts';
import { keysCommand } from './cli/keys.ts';
import { logsCommand } from './cli/logs.ts';
import { lsCommand } from './cli/ls.ts';
import { pinCommand } from './cli/pin.ts';
import { psCommand } from './cli/ps.ts';
import { quarantineCommand } from './cli/quarantine.ts';
import { registerCommand } from './cli/register.ts';
import { reloadCommand } from './cli/reload.ts';
import { reserveCommand } from './cli/reserve.ts';
import { retainCommand } from './cli/retain.ts';
import { rmCommand } from './cli/rm.ts';
import { schemaCommand } from './cli/schema.ts';
import { serveCommand } from './cli/serve.ts';
import { simCommand } from './cli/sim.ts';
import { sweepCommand } from './cli/sweep.ts';
import { Failure, printable, type Terminal } from './cli/terminal.ts';
import { upCommand } from './cli/up.ts';
import { ConfigError } from './config.ts';
import { StepgateError } from './errors.ts';

const SAME_WISH_MS = 500;
const interactive = process.stdout.isTTY === true;
const terminal: Terminal = {
  key: process.env.STEPGATE_KEY || undefined,
  variable: (name) => process.env[name],
  environment: process.env,
  width: interactive ? process.stdout.columns || 80 : Number.POSITIVE_INFINITY,
  interactive,
  colour: interactive && !process.env.NO_COLOR && process.env.TERM !== 'dumb',
  out: (text) => void process.stdout.write(`${printable(text)}\n`),
  err: (text) => void process.stderr.write(`${printable(text)}\n`),
  show: (text) => void process.stdout.write(`\r\x1b[2K${printable(text)}`),
  stopped: () =>
    new Promise((resolve) => {
      // npm passes Ctrl-C on to a process that the terminal has told already: that is one wish, not two.
      let firstAt: number | undefined;
      const ask = (signal: NodeJS.Signals) => {
        if (firstAt !== undefined && performance.now() - firstAt > SAME_WISH_MS)
          process.exit(signal === 'SIGINT' ? 130 : 143);
        firstAt ??= performance.now();
        resolve();
      };
      process.on('SIGINT', ask).on('SIGTERM', ask);
    }),
  onReload: (again) => void process.on('SIGHUP', again),
};

function program(): Command {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  const commands = [
    serveCommand,
    demoCommand,
    upCommand,
    downCommand,
    logsCommand,
    lsCommand,
    psCommand,
    sweepCommand,
    registerCommand,
    deployCommand,
    rmCommand,
    aliasCommand,
    pinCommand,
    reserveCommand,
    quarantineCommand,
    retainCommand,
    drainCommand,
    reloadCommand,
    keysCommand,
    auditCommand,
    doctorCommand,
    schemaCommand,
    simCommand,
  ];
  const root = new Command('stepgate')
    .description('One OpenAI-compatible endpoint for every LoRA checkpoint of every run: model "my-model@5" is step 5.')
    .version(version)
    .addHelpText(
      'after',
      [
        '',
        'Start here:',
        '  stepgate demo                          see it work, without a GPU',
        '  stepgate serve --config stepgate.yaml  in front of your engines',
        '  stepgate ls my-model                   which steps there are',
        '',
        'Environment: STEPGATE_KEY (the key to show to the gateway), NO_COLOR.',
        'Exit codes: 0 done, 1 failed (a line on stderr says why), 2 wrong usage.',
      ].join('\n'),
    );
  for (const create of commands) root.addCommand(create(terminal));
  // With "[options]" at each the summaries have no room to wrap, and run over the edge of 80 columns.
  const nameOf = (command: Command) => [command.name(), ...command.registeredArguments.map(sayArgument)].join(' ');
  root.configureHelp({ subcommandTerm: nameOf });
  for (const command of [root, ...root.commands]) {
    // Said as it is written, whether it is kept as a text or as a number.
    for (const option of command.options)
      if (typeof option.defaultValue === 'string') option.defaultValueDescription ??= option.defaultValue;
    command
      .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
      .showHelpAfterError(`("stepgate ${command === root ? '' : `${command.name()} `}--help" explains)`);
  }
  return root;
}

const sayArgument = (argument: Argument): string => {
  const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
  return argument.required ? `<${name}>` : `[${name}]`;
};

// A reader that leaves early (`stepgate ls | head -1`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

try {
  await program().parseAsync();
} catch (error) {
  const expected =
    error instanceof Failure ||
    error instanceof ConfigError ||
    (error instanceof StepgateError && error.code !== 'internal_error');
  const message = error instanceof Error ? error.message : String(error);
  terminal.err(expected ? message : `stepgate failed: ${message} (with STEPGATE_DEBUG=1 it says where)`);
  if (!expected && process.env.STEPGATE_DEBUG && error instanceof Error) terminal.err(error.stack ?? '');
  process.exit(error instanceof Failure ? error.exitCode : 1);
}
