// What the sections of the config's schema are made of.
import { z } from 'zod';

export const section = <S extends z.ZodRawShape>(about: string, shape: S) => z.strictObject(shape).describe(about);

export const path = z
  .string()
  .min(1)
  .refine(
    (text) => !text.startsWith('~') && !text.includes('$'),
    '~ and $VARIABLES are not expanded: write the whole path',
  );

const DAY_MS = 86_400_000;
export const ms = (byDefault: number, about: string) => z.int().min(1).max(DAY_MS).default(byDefault).describe(about);
export const count = (byDefault: number, max: number, about: string) =>
  z.int().min(1).max(max).default(byDefault).describe(about);
