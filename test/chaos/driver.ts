// Carries the plan out: clients that take requests in their order, deeds at their places, a calm after each turn in which everything is inspected.
// It decides nothing: what happens is the plan's, whether it was right the judge's and the inspection's.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { call } from './admin.ts';
import { Books, type Floor } from './books.ts';
import { MODELS } from './cast.ts';
import { Clients } from './client.ts';
import { SIZE } from './copies.ts';
import { Engines } from './engines.ts';
import { GatewayProcess, MEMORY_OF_FAILURES_MS } from './gateway.ts';
import { Leaks, reconcile, type Scene, untilCalm } from './inspection.ts';
import { judge, type Seen, type Weather } from './judge.ts';
import { KeyRing } from './keys.ts';
import { Operator } from './operator.ts';
import { type Deed, planOf, type Turn } from './plan.ts';
import { Publisher } from './publisher.ts';
import type { Request } from './requests.ts';
import { type Waits, WaitWatch } from './wait-bound.ts';

export interface ChaosOptions {
  readonly seed: number;
  readonly engines: number;
  readonly requestsEach?: number;
  /** It ends with the quiet stretch in which so many requests, or so many ms, are reached. */
  readonly requestsMax?: number;
  readonly msMax?: number;
  /** Told of each turn as it ends. */
  readonly onTurn?: (report: TurnReport) => void;
  readonly onComplaint?: (about: string) => void;
}

export interface TurnReport {
  readonly turn: Turn;
  readonly tookMs: number;
  /** Outcome -> requests. */
  readonly outcomes: ReadonlyMap<string, number>;
  readonly waits: Waits | undefined;
  /** Of the gateway, in the calm after it. */
  readonly heapMb: number;
  readonly residentMb: number;
}

export interface ChaosReport {
  readonly requests: number;
  readonly turns: number;
  readonly kills: number;
  readonly deeds: number;
  readonly tookMs: number;
  readonly outcomes: ReadonlyMap<string, number>;
  readonly complaints: readonly string[];
}

const CLIENTS = 48;
/** After so many, a run has nothing more to say. */
const COMPLAINTS_MAX = 10;

export async function chaos(options: ChaosOptions): Promise<ChaosReport> {
  const home = await mkdtemp(join(tmpdir(), 'stepgate-chaos-'));
  const engines = await Engines.start(options.engines);
  let run: Run | undefined;
  try {
    for (const { model } of MODELS) await mkdir(join(home, 'runs', model), { recursive: true });
    const backends = engines.all.map(({ name, slots, sim }) => ({ name, url: sim.url, slots }));
    const gateway = await GatewayProcess.start({ home, engines: backends });
    run = new Run(options, { home, gateway, engines, books: new Books() });
    return await run.whole();
  } finally {
    run?.scene.gateway.end();
    await engines.close();
    await rm(home, { recursive: true, force: true });
  }
}

class Run {
  readonly scene: Scene & { readonly home: string };
  readonly #options: ChaosOptions;
  readonly #keys: KeyRing;
  readonly #publisher: Publisher;
  readonly #operator: Operator;
  readonly #clients: Clients;
  readonly #leaks: Leaks;
  readonly #complaints: string[] = [];
  readonly #outcomes = new Map<string, number>();
  readonly #storms: { readonly from: number; until: number }[] = [];
  /** Of this turn, the requests that were answered to their end. */
  readonly #whole = new Set<string>();
  #requests = 0;
  #turns = 0;
  #deeds = 0;
  #troubles: Promise<unknown>[] = [];

  constructor(options: ChaosOptions, scene: Scene & { readonly home: string }) {
    this.#options = options;
    this.scene = scene;
    const complain = (about: string) => this.#complain(about);
    this.#keys = new KeyRing(scene.gateway);
    this.#publisher = new Publisher({ ...scene, keys: this.#keys, complain });
    this.#operator = new Operator({ ...scene, complain });
    this.#clients = new Clients(scene.gateway.url, CLIENTS);
    this.#leaks = new Leaks(scene);
    scene.gateway.onDeath = complain;
  }

  async whole(): Promise<ChaosReport> {
    const {
      seed,
      engines,
      requestsEach,
      requestsMax = Number.POSITIVE_INFINITY,
      msMax = Number.POSITIVE_INFINITY,
    } = this.#options;
    const startedAt = performance.now();
    await this.#publisher.begin();
    await this.#inspect();
    for (const turn of planOf({ seed, engines, ...(requestsEach && { requestsEach }) })) {
      await this.#turn(turn);
      const isEnough = this.#requests >= requestsMax || performance.now() - startedAt >= msMax;
      if (this.#complaints.length > 0 || (isEnough && turn.weather === 'quiet')) break;
    }
    await this.#clients.close();
    if (this.#complaints.length === 0) await this.#conclude();
    return {
      requests: this.#requests,
      turns: this.#turns,
      kills: this.scene.gateway.downs.length,
      deeds: this.#deeds,
      tookMs: performance.now() - startedAt,
      outcomes: this.#outcomes,
      complaints: this.#complaints,
    };
  }

  #complain(about: string): void {
    if (this.#complaints.length >= COMPLAINTS_MAX) return;
    const complaint = `turn ${this.#turns}: ${about}`;
    this.#complaints.push(complaint);
    this.#options.onComplaint?.(complaint);
  }

  async #conclude(): Promise<void> {
    for (const about of await this.#leaks.last()) this.#complain(about);
    await this.scene.gateway.stop().catch((error: unknown) => this.#complain(String(error)));
    await this.scene.gateway.examine().catch((error: unknown) => this.#complain(`the doctor: ${error}`));
  }

  async #turn(turn: Turn): Promise<void> {
    const { gateway, engines } = this.scene;
    const startedAt = performance.now();
    const outcomes = new Map<string, number>();
    const storm = { from: startedAt, until: Number.POSITIVE_INFINITY };
    if (turn.weather === 'storm') this.#storms.push(storm);
    const watch = turn.weather === 'quiet' ? await WaitWatch.start(gateway) : undefined;
    await this.#flood(turn, outcomes);
    const waits = await watch?.end({ slots: slotsIn(turn, engines) - (await this.#reserved()), clients: CLIENTS });
    if (waits !== undefined && waits.longestMs > waits.boundMs) {
      this.#complain(`a request waited ${waits.longestMs.toFixed(0)} ms, the bound is ${waits.boundMs.toFixed(0)} ms`);
    }
    await Promise.all(this.#troubles.splice(0));
    await engines.heal();
    await this.#operator.restore();
    await this.#publisher.idle();
    await this.#inspect();
    storm.until = performance.now();
    while ((this.#storms[0]?.until ?? startedAt) < startedAt) this.#storms.shift();
    this.#turns += 1;
    const [heapMb, residentMb] = [this.#leaks.heapBytes / 2 ** 20, await gateway.residentMb()];
    this.#options.onTurn?.({ turn, tookMs: performance.now() - startedAt, outcomes, waits, heapMb, residentMb });
  }

  async #inspect(): Promise<void> {
    const { engines } = this.scene;
    for (const about of await untilCalm(this.scene)) this.#complain(about);
    for (const about of await reconcile(this.scene)) this.#complain(about);
    for (const about of await this.#leaks.look()) this.#complain(about);
    for (const about of engines.complaints(this.#whole)) this.#complain(about);
    this.#whole.clear();
    await setTimeout(MEMORY_OF_FAILURES_MS);
  }

  async #reserved(): Promise<number> {
    const { body } = await call(this.scene.gateway, { method: 'GET', path: '/admin/v1/reservations' });
    return (body as { data: { slots: number }[] }).data.reduce((sum, { slots }) => sum + slots, 0);
  }

  /** Each client takes the next request when its last has ended; the deeds come as the requests reach their places. */
  async #flood({ requests, deeds }: Turn, outcomes: Map<string, number>): Promise<void> {
    let [next, done] = [0, 0];
    const client = async () => {
      while (next < requests.length && this.#complaints.length < COMPLAINTS_MAX) {
        const at = next++;
        for (; (deeds[done]?.at ?? Number.POSITIVE_INFINITY) <= at; done++) this.#do(deeds[done]?.deed);
        const request = requests[at];
        if (request === undefined) return;
        await this.scene.gateway.isUp;
        const outcome = await this.#ask(request, at);
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
        this.#requests += 1;
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, client));
    for (; done < deeds.length; done++) this.#do(deeds[done]?.deed);
  }

  async #ask(request: Request, at: number): Promise<string> {
    const bare =
      request.kind === 'good' && request.asked.kind === 'bare' ? this.scene.books.of(request.asked.model) : undefined;
    const floor = bare?.floor;
    const id = `chaos-${this.#turns}-${at}`;
    const seen = await this.#clients.send(request, { id, secret: this.#keys.secret(request.key) });
    const verdict = judge(seen, this.scene.books, this.#weather);
    const step = Number(seen.model?.split('@')[1]);
    const wentBack = bare !== undefined && seen.status === 200 && isBack(bare, { step, seen, floor });
    if ('outcome' in verdict && !wentBack) {
      if (verdict.outcome === 'ok') this.#whole.add(id);
      return verdict.outcome;
    }
    const what =
      'complaint' in verdict ? verdict.complaint : `the bare name went back from step ${floor?.step} to ${step}`;
    const when = `sent ${seen.sentAt.toFixed(1)}, ended ${seen.endedAt.toFixed(1)}`;
    this.#complain(`request ${at} (${JSON.stringify(request)}, ${when}): ${what}`);
    return 'COMPLAINT';
  }

  readonly #weather: Weather = {
    isStormy: (from, to) => this.#storms.some((storm) => storm.from <= to && storm.until >= from),
    wasDown: (from, to) => this.scene.gateway.downs.some((down) => down.from <= to && down.until >= from),
    wasStopping: (from, to) =>
      this.scene.gateway.downs.some((down) => down.kind === 'stopped' && down.from >= from && down.from <= to),
  };

  #do(deed: Deed | undefined): void {
    if (deed === undefined) return;
    this.#deeds += 1;
    switch (deed.kind) {
      case 'killGateway':
        this.#troubles.push(this.scene.gateway.kill());
        return;
      case 'stopGateway':
        this.#troubles.push(this.scene.gateway.restart().catch((error) => this.#complain(String(error))));
        return;
      case 'reload':
      case 'drain':
      case 'undrain':
        return this.#operator.carryOut(deed);
      case 'intrude':
        this.#troubles.push(this.#intrude(deed));
        return;
      case 'crash':
      case 'cutOff':
      case 'restart':
      case 'back':
      case 'forget':
      case 'lie':
      case 'fault':
        this.#troubles.push(this.scene.engines.carryOut(deed));
        return;
      default:
        this.#publisher.carryOut(deed);
    }
  }

  /** Weights that are in no book. Whether the engine takes them is its own affair. */
  async #intrude({ engine, model, step }: Extract<Deed, { kind: 'intrude' }>): Promise<void> {
    const path = await writeCheckpoint({ ...SIZE, dir: join(this.scene.home, 'alien'), step, seed: 7 });
    await this.scene.engines.intrude(engine, { name: `${model}@${step}`, path });
  }
}

/** Those that were in use all the time. */
function slotsIn({ deeds }: Turn, { all }: Engines): number {
  const away = new Set(deeds.flatMap(({ deed }) => ('engine' in deed ? [deed.engine % all.length] : [])));
  return all.reduce((sum, { slots }, index) => sum + (away.has(index) ? 0 : slots), 0);
}

const isBack = (
  book: NonNullable<ReturnType<Books['of']>>,
  { step, seen, floor = { step: 0 } }: { step: number; seen: Seen; floor: Floor | undefined },
): boolean => book.isBack(step, seen.sentAt, floor);
