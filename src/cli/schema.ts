// `stepgate schema`: what a config file may hold, as JSON schema (config/stepgate.schema.json) or as Markdown (docs/config.md).
// Both are printed from the schema that also reads the config, so neither can say anything else.
import { Command } from 'commander';
import { configJsonSchema } from '../config.ts';
import type { Shape } from '../config-problems.ts';
import type { Terminal } from './terminal.ts';

export function schemaCommand(terminal: Terminal): Command {
  return new Command('schema')
    .summary("print the config's JSON schema")
    .description('Print the JSON schema of the config file, for editors and checks.')
    .option('--markdown', 'print the keys, their defaults and meanings as Markdown instead')
    .addHelpText('after', '\nExamples:\n  stepgate schema > stepgate.schema.json\n  stepgate schema --markdown | less')
    .action((options: { markdown?: boolean }) =>
      terminal.out(options.markdown ? configMarkdown() : configSchemaText()),
    );
}

/** Arrays of plain values on one line where they fit, as the formatter would have it. */
export function configSchemaText(): string {
  const text = JSON.stringify(configJsonSchema(), null, 2);
  const lines = text.replace(
    /^( *(?:"[^"]+": )?)\[\s+([^[\]{}]*?)\s+\](,?)$/gm,
    (whole, lead: string, items: string, tail: string) => {
      const line = `${lead}[${items.replace(/,\s+/g, ', ')}]${tail}`;
      return line.length <= 120 ? line : whole;
    },
  );
  return lines.replace(/\[\s+(\[[^\n]*\])\s+\]/g, '[$1]');
}

export function configMarkdown(): string {
  const root = configJsonSchema();
  const sections = Object.entries(root.properties ?? {}).map(([key, shape]) => ({ key, shape, inner: innerOf(shape) }));
  const top = sections.map(({ key, shape, inner }) => row(inner === undefined ? key : `[${key}](#${key})`, key, shape));
  return [
    '# Configuration',
    '',
    '`stepgate serve --config FILE` reads one YAML file; every key may be left out, and so may the file. `stepgate serve --check',
    '--config FILE` reads it and says what is wrong with it: file, line, key and fix. Examples are in `config/`. Editors complete and check',
    'the keys by `config/stepgate.schema.json`; this page is printed from the same schema (`npm run schema`).',
    '',
    'Times are in milliseconds and sizes in bytes, as the ends of their names say. Relative paths start at the file that holds them.',
    '',
    ...tableOf(top),
    ...sections.flatMap(({ key, shape, inner }) =>
      inner === undefined
        ? []
        : [
            '',
            `## ${key}`,
            '',
            shape.description ?? '',
            '',
            ...tableOf(
              Object.entries(inner.shape.properties ?? {}).flatMap(([name, field]) => rows(name, field, inner)),
            ),
          ],
    ),
  ].join('\n');
}

/** The mapping inside a section, a list's entries or a mapping's values: what its own table describes. */
function innerOf(shape: Shape): { prefix: string; shape: Shape } | undefined {
  if (shape.properties !== undefined) return { prefix: '', shape };
  if (shape.items?.properties !== undefined) return { prefix: '- ', shape: shape.items };
  const values = shape.additionalProperties;
  return typeof values === 'object' && values.properties !== undefined
    ? { prefix: '\u2039name\u203a: ', shape: values }
    : undefined;
}

/** A field's row, and under it one for each key that it holds itself. */
function rows(name: string, field: Shape, { prefix, shape }: { prefix: string; shape: Shape }): string[] {
  const within = Object.entries(field.properties ?? {});
  return [
    row(`${prefix}${name}`, name, field, shape),
    ...within.map(([key, inner]) => row(`${prefix}${name}.${key}`, key, inner, field)),
  ];
}

const tableOf = (rows: readonly string[]) => ['| key | default | meaning |', '|---|---|---|', ...rows];

function row(label: string, key: string, shape: Shape, within?: Shape): string {
  const value = shape.default;
  const needed = within?.required?.includes(key);
  const empty = value === undefined || (typeof value === 'object' && Object.keys(value ?? {}).length === 0);
  const written = needed ? 'required' : empty ? '' : `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;
  const choices = shape.enum === undefined ? '' : ` One of ${shape.enum.map((choice) => `\`${choice}\``).join(', ')}.`;
  return `| ${label.startsWith('[') ? label : `\`${label}\``} | ${written} | ${(shape.description ?? '').replaceAll('|', '\\|').replaceAll('<', '&lt;')}${choices} |`;
}
