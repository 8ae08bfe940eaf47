// `stepgate doctor`: examines a data directory that no gateway runs on, and prints what it finds. What is judged is in registry/doctor.ts.
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { defaultConfig } from '../config.ts';
import type { Examination, Finding } from '../registry/doctor.ts';
import { readConfig } from './addresses.ts';
import { Failure, sayBytes, type Terminal } from './terminal.ts';

interface Options {
  readonly config?: string;
  readonly data?: string;
  readonly repair?: boolean;
  readonly deep?: boolean;
  readonly json?: boolean;
}

export function doctorCommand(terminal: Terminal): Command {
  return new Command('doctor')
    .summary('check a data directory, and repair it')
    .description(
      "Check the gateway's data directory: the database, that rows and files agree, leftovers and permissions.\nNothing is changed without --repair. Stop the gateway first. Exit code 0: clean, 1: problems are left.",
    )
    .addOption(new Option('--config <file>', "the gateway's config, which names the directory").conflicts('data'))
    .option('--data <dir>', 'the directory itself (default: stepgate-data)')
    .option('--deep', 'read every adapter and take its digest again')
    .option('--repair', 'do what can be done')
    .option('--json', 'print what was found as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  stepgate doctor --config stepgate.yaml\n  stepgate doctor --data stepgate-data --deep --repair',
    )
    .action(async (options: Options) => {
      const dir = await directory(options);
      const { examine } = await import('../registry/doctor.ts');
      const found = await examine(dir, { repair: options.repair === true, deep: options.deep === true }).catch(
        (error: unknown) => {
          throw error instanceof Error ? new Failure(error.message) : error;
        },
      );
      terminal.out(
        options.json ? JSON.stringify({ data: dir, ...found }, null, 2) : report(dir, found, terminal.width),
      );
      const left = found.findings.filter(isLeft);
      if (left.length > 0) throw new Failure(conclusion(left));
    });
}

async function directory({ data, config }: Options): Promise<string> {
  if (data !== undefined) return resolve(data);
  return (config === undefined ? defaultConfig() : await readConfig(config)).data;
}

const isLeft = ({ severity, state }: Finding): boolean => severity === 'problem' && state !== 'repaired';

function conclusion(left: readonly Finding[]): string {
  const problems = count(left.length, 'problem');
  if (left.every(({ state }) => state === 'repairable'))
    return `${problems}: --repair mends ${left.length === 1 ? 'it' : 'them'}`;
  const some = left.some(({ state }) => state === 'repairable');
  return `${problems}${some ? ': --repair mends some, the others are for you' : ': for you to mend'}`;
}

/** Lines are wrapped at the terminal's width, and at 80 where there is none. */
function report(dir: string, found: Examination, width: number): string {
  const columns = Number.isFinite(width) ? width : 80;
  const { checkpoints, adapters, bytes, toBeFreed, findings } = found;
  const lines = [dir, `  ${count(checkpoints, 'checkpoint')}, ${count(adapters, 'sound adapter')}, ${sayBytes(bytes)}`];
  if (toBeFreed > 0)
    lines.push(
      ...wrap(
        `${count(toBeFreed, 'adapter')} of deleted or replaced steps, to be freed when a gateway runs`,
        columns,
        '  ',
      ),
    );
  for (const finding of findings) {
    lines.push('', finding.what);
    lines.push(
      ...wrap(`${finding.severity === 'note' ? 'note' : finding.kind}: ${finding.about}.`, columns, '  '),
      ...wrap(`${WHO[finding.state]}${finding.remedy}`, columns, '  '),
    );
  }
  if (findings.every((finding) => !isLeft(finding))) lines.push('', findings.some(isRepaired) ? 'clean now' : 'clean');
  return lines.join('\n');
}

const count = (many: number, what: string): string => `${many} ${what}${many === 1 ? '' : 's'}`;
const isRepaired = ({ state }: Finding): boolean => state === 'repaired';
const WHO: Record<Finding['state'], string> = {
  repaired: 'repaired: ',
  repairable: '--repair would: ',
  yours: 'to do: ',
};

/** Words are never cut: a path must stay one that can be copied. */
function wrap(text: string, width: number, indent: string): string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(' ')) {
    if (line !== indent && line.length + 1 + word.length > width) {
      lines.push(line);
      line = indent;
    }
    line += line === indent ? word : ` ${word}`;
  }
  return [...lines, line];
}
