// What must hold when nothing is under way: no slot, lease, ticket, file or byte is left behind, the gateway knows what the engines hold, and the
// registry is what the books say. Each complaint is a sentence.
import { setTimeout } from 'node:timers/promises';
import { request } from 'undici';
import { call } from './admin.ts';
import type { Books, ModelBooks } from './books.ts';
import type { Engines } from './engines.ts';
import type { GatewayProcess, Holdings } from './gateway.ts';

/** Loads that were begun may end, engines that came back are looked at. */
const CALM_MS_MAX = 20_000;
const LOOK_MS = 50;
/** Connections to engines that are kept for their next look, and our own. */
const SOCKETS_OF_AN_ENGINE = 5;
const SOCKETS_OF_ITS_OWN = 6;
const FILES_MORE_MAX = 2;
/** Each step that there ever was is remembered, with its revisions and their names (some 1.3 KB a revision); they are numbered from 1. */
const HEAP_MORE_MAX = { times: 1.15, bytes: 5 * 2 ** 20, bytesPerStep: 4096 };

interface BackendRow {
  readonly name: string;
  readonly state: string;
  readonly inFlight: number;
  readonly adapters: readonly { readonly adapter: string; readonly state: string; readonly inFlight: number }[];
}

export interface Scene {
  readonly gateway: GatewayProcess;
  readonly engines: Engines;
  readonly books: Books;
}

/** Resolves when all is calm; with what is not, when it does not become so. */
export async function untilCalm(scene: Scene): Promise<readonly string[]> {
  const end = performance.now() + CALM_MS_MAX;
  for (;;) {
    const unrest = await unrestOf(scene);
    if (unrest.length === 0) return [];
    if (performance.now() > end) return unrest.map((what) => `not calm after ${CALM_MS_MAX} ms: ${what}`);
    await setTimeout(LOOK_MS);
  }
}

async function unrestOf({ gateway, engines }: Scene): Promise<string[]> {
  const { body } = await call(gateway, { method: 'GET', path: '/admin/v1/backends' });
  const rows = (body as { data: BackendRow[] }).data;
  const unrest = engines.all.flatMap(({ name, sim }) => {
    const row = rows.find((one) => one.name === name);
    if (row?.state !== 'up') return [`${name} is ${row?.state}`];
    const { running, waiting, adapters } = sim.stats();
    const moving = row.adapters.filter(({ state, inFlight }) => state !== 'ready' || inFlight > 0);
    const [told, held] = [
      row.adapters
        .map(({ adapter }) => adapter)
        .sort()
        .join(', '),
      [...adapters.keys()].sort().join(', '),
    ];
    return [
      ...(row.inFlight > 0 ? [`${row.inFlight} leases are open on ${name}`] : []),
      ...(running + waiting > 0 ? [`${name} runs ${running} and has ${waiting} waiting`] : []),
      ...moving.map(({ adapter, state, inFlight }) => `${adapter} is ${state} on ${name}, ${inFlight} in flight`),
      ...(told === held ? [] : [`${name} holds ${held || 'nothing'}, the gateway says ${told || 'nothing'}`]),
    ];
  });
  const waiting = await gauge(gateway, 'stepgate_waiting');
  return waiting === 0 ? unrest : [...unrest, `${waiting} requests wait`];
}

async function gauge(gateway: GatewayProcess, name: string): Promise<number> {
  const answer = await request(`${gateway.url}/metrics`, { reset: true, headers: gateway.authorization });
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(await answer.body.text())?.[1]);
}

interface StepRow {
  readonly step: number;
  readonly state: string;
  readonly digest: string | null;
}

/** Compares the registry with the books while nobody changes either, and enters what became of changes that nobody acknowledged. */
export async function reconcile({ gateway, books }: Scene): Promise<string[]> {
  const complaints: string[] = [];
  for (const [model, book] of books.models) {
    const rows = await listing(gateway, model);
    const path = `/admin/v1/models/${model}/aliases`;
    const { body } = await call(gateway, { method: 'GET', path });
    const aliases = (body as { data: { alias: string; step: number }[] }).data;
    complaints.push(...reconcileSteps(book, rows), ...reconcileAliases(book, aliases));
    book.tidy(performance.now());
  }
  return complaints;
}

async function listing(gateway: GatewayProcess, model: string): Promise<Map<number, StepRow>> {
  const path = `/admin/v1/models/${model}/checkpoints?limit=100000`;
  const { body } = await call(gateway, { method: 'GET', path });
  return new Map((body as { data: StepRow[] }).data.map((row) => [row.step, row]));
}

function reconcileSteps(book: ModelBooks, rows: ReadonlyMap<number, StepRow>): string[] {
  const now = performance.now();
  return [...book.steps].flatMap(([step, register]) => {
    const row = rows.get(step);
    const is = row === undefined ? 'absent' : row.state === 'servable' ? `weights ${row.digest}` : row.state;
    const say = (one: (typeof possible)[number]) =>
      one.kind === 'weights' ? `weights ${one.digests.stored}` : one.kind;
    const possible = register.possible(now, now);
    const open = register.open;
    const happened = open.find(({ value }) => say(value) === is);
    for (const change of open) change === happened ? register.end(change, now) : register.void(change, now);
    if (possible.some((one) => say(one) === is)) return [];
    return [`${book.model}@${step} is ${is}, and was to be ${possible.map(say).join(' or ')}`];
  });
}

function reconcileAliases(book: ModelBooks, rows: readonly { alias: string; step: number }[]): string[] {
  const now = performance.now();
  return [...book.aliases].flatMap(([alias, register]) => {
    const step = rows.find((row) => row.alias === alias)?.step;
    const possible = register.possible(now, now);
    for (const change of register.open) change.value === step ? register.end(change, now) : register.void(change, now);
    return possible.includes(step)
      ? []
      : [`${book.model}@${alias} leads to ${step}, and was to lead to ${possible.join(' or ')}`];
  });
}

/** What one life of the gateway held at its beginning, and what it may hold at most. */
export class Leaks {
  readonly #scene: Scene;
  #life = -1;
  #first: { holdings: Holdings; heapBytes: number; steps: number } | undefined;
  /** At the last look, after a collection. */
  heapBytes = 0;

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  /** In a calm. The first one of each life is what the others are compared with. */
  async look(): Promise<readonly string[]> {
    const { gateway, books } = this.#scene;
    const steps = [...books.models.values()].reduce((total, model) => total + Math.max(0, ...model.steps.keys()), 0);
    // First: a collection closes files that somebody has forgotten.
    const holdings = await gateway.holdings();
    const heapBytes = await gateway.heapBytes();
    this.heapBytes = heapBytes;
    if (this.#first === undefined || this.#life !== gateway.downs.length) {
      this.#life = gateway.downs.length;
      this.#first = { holdings, heapBytes, steps };
      return [];
    }
    const before = this.#first;
    const { times, bytes, bytesPerStep } = HEAP_MORE_MAX;
    const heapMax = before.heapBytes * times + bytes + (steps - before.steps) * bytesPerStep;
    const mb = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MB`;
    return [
      ...(heapBytes > heapMax ? [`the heap grew from ${mb(before.heapBytes)} to ${mb(heapBytes)}`] : []),
      ...(holdings.others > before.holdings.others + FILES_MORE_MAX
        ? [`${holdings.others} files are open, ${before.holdings.others} were`]
        : []),
    ];
  }

  /** At the end, when no client is connected any more. */
  async last(): Promise<readonly string[]> {
    const { gateway, engines } = this.#scene;
    const most = SOCKETS_OF_ITS_OWN + engines.all.length * SOCKETS_OF_AN_ENGINE;
    const end = performance.now() + CALM_MS_MAX;
    for (;;) {
      const { sockets } = await gateway.holdings();
      if (sockets <= most) return [];
      if (performance.now() > end) return [`${sockets} sockets are open with nobody there (${most} at most)`];
      await setTimeout(LOOK_MS);
    }
  }
}
