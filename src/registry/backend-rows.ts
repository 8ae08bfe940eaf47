// Backends that were added beside the config's, and the engines that the gateway started, as the database's cells and back.
import { z } from 'zod';
import { as, type BackendName } from '../domain.ts';
import { Integer, Text } from './rows.ts';
import type { BackendRow, EngineRow } from './store.ts';

type Cells = Readonly<Record<string, string | number | null>>;

const Settings = Text.transform((text) => z.record(z.string(), z.unknown()).parse(JSON.parse(text)));

const BackendCells = z.object({ name: Text, settings: Settings, who: Text, since_ms: Integer }).transform(
  (row): BackendRow => ({
    name: as<BackendName>(row.name),
    settings: row.settings,
    who: row.who,
    sinceMs: row.since_ms,
  }),
);
export const backendOf = (cells: unknown): BackendRow => BackendCells.parse(cells);
export const backendRowOf = ({ name, settings, who, sinceMs }: BackendRow): Cells => ({
  ...{ name, who },
  settings: JSON.stringify(settings),
  since_ms: sinceMs,
});

const EngineCells = z
  .object({
    name: Text,
    phase: z.enum(['starting', 'serving', 'failed', 'stopping']),
    spec: Settings,
    pid: Integer.nullable(),
    born: Text.nullable(),
    about: Text.nullable(),
    who: Text,
    created_at_ms: Integer,
  })
  .transform(
    ({ name, phase, spec, pid, born, about, who, created_at_ms }): EngineRow => ({
      name: as<BackendName>(name),
      ...{ phase, spec, who },
      process: pid === null || born === null ? undefined : { pid, born },
      about: about ?? undefined,
      createdAtMs: created_at_ms,
    }),
  );
export const engineOf = (cells: unknown): EngineRow => EngineCells.parse(cells);
export const engineRowOf = ({ name, phase, spec, process, about, who, createdAtMs }: EngineRow): Cells => ({
  ...{ name, phase, who },
  spec: JSON.stringify(spec),
  pid: process?.pid ?? null,
  born: process?.born ?? null,
  about: about ?? null,
  created_at_ms: createdAtMs,
});
