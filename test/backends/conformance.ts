// What every driver must promise, whatever it speaks. A new kind is one more call of this, with a stand-in that has the kind's quirks.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pool } from 'undici';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Driver } from '../../src/backends/driver.ts';
import { DRIVERS, type DriverOptions } from '../../src/backends/drivers.ts';
import { as, type Checkpoint, NO_DETAILS } from '../../src/domain.ts';
import { appendMember } from '../../src/openai/body.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { weightsOf } from '../gateway/harness.ts';
import type { Said, Stand } from './engines/server.ts';
import { soon, weightsAt } from './playing.ts';

interface Kind {
  /** `pathOf`: where the files of step 5 and step 40 are, for a service that has those. */
  readonly start: (files: { readonly pathOf: (step: number) => string }) => Promise<Stand>;
  readonly options?: Partial<DriverOptions>;
  /** It loads files: they can be refused, forgotten and unloaded. */
  readonly loads: boolean;
  /** It says what it holds. */
  readonly lists: boolean;
  /** Its words of refusal, whose fault that is, and what people are told. */
  readonly refusals: readonly (readonly [string, Said, 'adapter' | 'backend', RegExp])[];
  /** Members with which a caller would reach other weights past the gateway. */
  readonly sneaky: Readonly<Record<string, unknown>>;
}

const base = as<Checkpoint['base'] & string>('base');

export function conformance(name: keyof typeof DRIVERS, kind: Kind): void {
  let dir = '';
  const paths = new Map<number, string>();
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'stepgate-driver-'));
    for (const step of [5, 40]) paths.set(step, await writeCheckpoint({ dir, step }));
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  const pathOf = (step: number): string => paths.get(step) ?? '';
  const weights = (step: number) => weightsAt(pathOf(step), step);

  async function running(): Promise<{ engine: Stand; driver: Driver }> {
    const engine = await kind.start({ pathOf });
    const dispatcher = new Pool(new URL(engine.url).origin);
    onTestFinished(() => dispatcher.destroy());
    const pathFor = (path: string) => path;
    return { engine, driver: DRIVERS[name]({ url: engine.url, dispatcher, pathFor, ...kind.options }) };
  }

  /** What is asked for: a step of my-model, or the base. */
  const wanted = (step: number | undefined) => ({
    base,
    checkpoint: step === undefined ? undefined : checkpointAt(step, pathOf(step)),
  });

  /** As the gateway does: the model's name spliced in, the members behind all others. */
  async function ask(engine: Stand, driver: Driver, step: number | undefined, more: object = {}) {
    const said = { ...more, model: driver.modelOf(wanted(step)), messages: [] };
    let body: Buffer[] = [Buffer.from(JSON.stringify(said))];
    for (const [member, value] of Object.entries(driver.membersOf?.(wanted(step)) ?? {}))
      body = appendMember(body, member, value);
    const headers = { 'content-type': 'application/json' };
    const init = { method: 'POST', headers, body: Buffer.concat(body) };
    const response = await fetch(`${engine.url}/v1/chat/completions`, init);
    return { status: response.status, text: await response.text() };
  }

  describe(`the driver for ${name}`, () => {
    test('says what the engine is, and how many adapters it runs at once', async () => {
      const { driver } = await running();
      const probe = await driver.probe(soon());
      expect(probe.bases.map((one) => one.name)).toEqual(['base']);
      expect(probe.adapters === undefined ? undefined : [...probe.adapters]).toEqual(kind.lists ? [] : undefined);
      const slots = probe.slots ?? (await driver.learnSlots(probe, soon())).slots;
      expect(slots).toBeGreaterThan(0);
    });

    test('loads, again and again, and the engine holds it from our path', async () => {
      const { driver } = await running();
      for (let times = 0; times < 2; times++) expect(await driver.load(weights(5), soon())).toEqual({ kind: 'loaded' });
      if (kind.lists) expect((await driver.probe(soon())).adapters).toEqual(new Map([['my-model@5', pathOf(5)]]));
    });

    test('names each step and the base so that its own weights answer, whatever the caller puts beside it', async () => {
      const { engine, driver } = await running();
      for (const step of [5, 40]) await driver.load(weights(step), soon());
      for (const step of [5, 40])
        expect((await ask(engine, driver, step)).text).toContain(await weightsOf(pathOf(step)));
      expect((await ask(engine, driver, undefined)).text).not.toContain(await weightsOf(pathOf(5)));
      for (const step of [5, undefined]) {
        const { status, text } = await ask(engine, driver, step, kind.sneaky);
        if (status < 400) expect(text).not.toContain(await weightsOf(pathOf(40)));
      }
    });

    test('unloads, and again, and what was never there', async () => {
      const { driver } = await running();
      await driver.load(weights(5), soon());
      for (const step of [5, 5, 40])
        expect(await driver.unload(weights(step).id, soon())).toEqual({ kind: 'unloaded' });
      if (kind.lists) expect((await driver.probe(soon())).adapters).toEqual(new Map());
    });

    test.skipIf(!kind.lists)('finds out that another process is there, which holds nothing', async () => {
      const { engine, driver } = await running();
      await driver.load(weights(5), soon());
      await engine.restart();
      expect((await driver.probe(soon())).adapters).toEqual(new Map());
      const { status, text } = await ask(engine, driver, 5);
      expect(driver.unknownModel.statuses).toContain(status);
      const { error, message } = JSON.parse(text) as { error?: { message: string }; message?: string };
      const said = { message: error?.message ?? message ?? '', type: '', param: null, code: status };
      expect(driver.unknownModel.says(said, status)).toBe(true);
      expect(await driver.load(weights(5), soon())).toEqual({ kind: 'loaded' });
    });

    test.each(kind.refusals)('tells whose fault a refused load is: %s', async (_, said, fault, about) => {
      const { engine, driver } = await running();
      engine.refusal = said;
      const outcome = await driver.load(weights(5), soon());
      expect(outcome).toEqual({ kind: 'failed', fault, message: expect.stringMatching(about) });
    });

    test.skipIf(!kind.loads)('loads nothing that has no files', async () => {
      const { engine, driver } = await running();
      expect(await driver.load(weightsAt(undefined), soon())).toMatchObject({ kind: 'failed' });
      expect(engine.asked).toEqual([]);
    });

    test('of an engine that nobody listens for: rejects with a sentence, and its loads were not sent', async () => {
      const { engine, driver } = await running();
      await engine.die();
      if (kind.options?.health !== 'none') await expect(driver.probe(soon())).rejects.toThrow(/is the engine running/);
      if (kind.loads)
        expect(await driver.load(weights(5), soon())).toMatchObject({ kind: 'failed', fault: 'backend', unsent: true });
    });

    test.each([
      ['hangs', /did not answer in time/],
      ['resets', /broke before its answer was whole/],
    ] as const)('of an engine that %s: nobody knows whether it loaded', async (trouble, about) => {
      const { engine, driver } = await running();
      engine.trouble = trouble;
      await expect(driver.probe(AbortSignal.timeout(50))).rejects.toThrow(about);
      if (kind.loads) expect(await driver.load(weights(5), AbortSignal.timeout(50))).toMatchObject({ kind: 'unknown' });
    });

    test('of something else: rejects with a sentence, and takes nothing for a load', async () => {
      const { engine, driver } = await running();
      engine.trouble = 'garbage';
      await expect(driver.probe(soon())).rejects.toThrow(/but not as .* does|broke before/);
      if (kind.loads) expect((await driver.load(weights(5), soon())).kind).not.toBe('loaded');
    });

    test('of an engine that asks for a key: says so', async () => {
      const { engine, driver } = await running();
      engine.trouble = 'key';
      await expect(driver.probe(soon())).rejects.toThrow(/asks for an API key.*`keyFile` or `keyEnv`/);
      if (kind.loads) expect(await driver.load(weights(5), soon())).toMatchObject({ kind: 'failed', fault: 'backend' });
    });
  });
}

function checkpointAt(step: number, path: string): Checkpoint {
  const { checkpoint, id } = weightsAt(path, step);
  return {
    ...checkpoint,
    revision: 1,
    adapter: { id, path, digest: as('0'.repeat(64)), bytes: 1, rank: 8 },
    ...{ base, source: path, createdAtMs: 0, state: { kind: 'servable' }, details: NO_DETAILS, warnings: [] },
  };
}
