// `stepgate demo`: the main job on one machine without a GPU. The command and its options; the demo itself is in demo/.
import { Command, InvalidArgumentError } from 'commander';
import type { Terminal } from './terminal.ts';

export interface DemoOptions {
  readonly once?: boolean;
  readonly port?: number;
}

export function demoCommand(terminal: Terminal): Command {
  return new Command('demo')
    .summary('see it work, without a GPU')
    .description(
      'Start two simulated engines, the gateway and a pretended trainer; ask for each checkpoint as it appears, and for more of them than fit.\nThen go on serving until Ctrl-C. Nothing is kept: the files are in a temporary directory.',
    )
    .option('--once', 'end after the last answer: exit code 0 if each came from the right checkpoint, else 1')
    .option('--port <number>', 'where the gateway listens (default: 8080, or a free port if that is taken)', parsePort)
    .addHelpText('after', '\nExamples:\n  stepgate demo\n  stepgate demo --once --port 9000')
    .action(async (options: DemoOptions) => {
      // Imported only here: the other commands start in half the time without the server's modules.
      const { demo } = await import('./demo/play.ts');
      await demo(options, terminal);
    });
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535)
    throw new InvalidArgumentError('Write a port from 0 (any free one) to 65535.');
  return port;
}
