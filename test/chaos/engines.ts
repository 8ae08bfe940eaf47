// The simulated engines of a chaos run, and the trouble that the plan brings them. They live in the run's own process; what each has done in all
// its lives is added up here. Decides nothing.

import { type Sim, startSim } from '../../src/sim/sim.ts';
import { BASE } from './cast.ts';
import type { Trouble } from './troubles.ts';

type EngineTrouble = Exclude<Trouble, { kind: 'killGateway' | 'stopGateway' | 'intrude' }>;

const INTRUSION_MS_MAX = 2_000;
const SLOTS = [3, 2, 4] as const;

export interface Engine {
  readonly name: string;
  readonly slots: number;
  readonly sim: Sim;
}

export class Engines {
  readonly all: readonly Engine[];
  /** Refusing connections until they are brought back. */
  readonly #away = new Map<Engine, 'crash' | 'cutOff'>();
  /** By engine: what is to be done next to it, one after the other. */
  readonly #turns = new Map<Engine, Promise<void>>();
  /** Broken laws, of lives that are over. */
  #areIll = false;
  readonly #complaints: string[] = [];
  readonly #orphans = new Set<string>();
  /**
   * In this life they have dropped an adapter, which is another one to them when it is loaded again, beside what still runs on it; or they are liars. More
   * may run on them than slots.
   */
  readonly #forgetful = new Set<Engine>();
  /**
   * Until the turn's end their lists may leave out what they hold. Where that is what they say when they come up, they are believed: nobody could tell it
   * from a restart, after which what ran before runs no more, and a slot that is kept for it would be kept until a deadline passes.
   */
  readonly #liars = new Set<Engine>();
  /** Where weights lie that the gateway knows nothing of. */
  readonly #alien = new Set<string>();

  private constructor(all: readonly Engine[]) {
    this.all = all;
  }

  static async start(count: number): Promise<Engines> {
    const all = Array.from({ length: count }, async (_, index) => {
      const slots = SLOTS[index % SLOTS.length] ?? 2;
      const sim = await startSim({
        base: BASE,
        maxLoras: slots,
        loadMs: 2,
        firstTokenMs: 0,
        tokenMs: 0,
        answerTokens: 64,
      });
      return { name: `gpu-${index}`, slots, sim };
    });
    return new Engines(await Promise.all(all));
  }

  /** Nothing has been done to them since they were healed. */
  get areWell(): boolean {
    return !this.#areIll;
  }

  at(index: number): Engine {
    const engine = this.all[index % this.all.length];
    if (engine === undefined) throw new Error('there are no engines');
    return engine;
  }

  carryOut(trouble: EngineTrouble): Promise<void> {
    this.#areIll = true;
    const engine = this.at(trouble.engine);
    const turn = (this.#turns.get(engine) ?? Promise.resolve()).then(() => this.#doTo(engine, trouble));
    this.#turns.set(engine, turn);
    return turn;
  }

  async #doTo(engine: Engine, trouble: EngineTrouble): Promise<void> {
    const { sim } = engine;
    switch (trouble.kind) {
      case 'fault':
        return sim.fault(trouble.door, trouble.fault, trouble.times);
      case 'lie':
        if (trouble.about !== 'more') {
          this.#liars.add(engine);
          this.#forgetful.add(engine);
        }
        return sim.fault(
          'models',
          { kind: 'status', status: 200, body: this.#lie(engine, trouble.about) },
          trouble.times,
        );
      case 'forget':
        this.#forgetful.add(engine);
        for (const name of [...sim.stats().adapters.keys()].slice(0, trouble.adapters)) sim.forget(name);
        return;
      case 'crash':
      case 'cutOff':
        if (this.#away.has(engine)) return;
        this.#away.set(engine, trouble.kind);
        if (trouble.kind === 'cutOff') return sim.refuse();
        this.#endLife(engine);
        return sim.kill();
      case 'restart':
        // After a crash there is none to end: it was judged then, with what it had forgotten.
        if (this.#away.get(engine) !== 'crash') this.#endLife(engine);
        this.#away.delete(engine);
        return await sim.restart();
      case 'back':
        return await this.#bringBack(engine);
    }
  }

  async #bringBack(engine: Engine): Promise<void> {
    const was = this.#away.get(engine);
    this.#away.delete(engine);
    if (was === 'cutOff') await engine.sim.accept();
    if (was === 'crash') await engine.sim.restart();
  }

  /** Loads an adapter past the gateway, in vLLM's own way; it is taken out again when all trouble ends. */
  async intrude(index: number, { name, path }: { readonly name: string; readonly path: string }): Promise<void> {
    const { sim } = this.at(index);
    this.#alien.add(path);
    const body = JSON.stringify({ lora_name: name, lora_path: path });
    const headers = { 'content-type': 'application/json' };
    const signal = AbortSignal.timeout(INTRUSION_MS_MAX);
    await fetch(`${sim.url}/v1/load_lora_adapter`, { method: 'POST', headers, body, signal }).catch(() => {});
  }

  /** Ends all trouble. What hangs goes on hanging until somebody gives it up. */
  async heal(): Promise<void> {
    await Promise.all(this.#turns.values());
    this.#areIll = false;
    this.#liars.clear();
    for (const engine of this.all) {
      engine.sim.clearFaults();
      await this.#bringBack(engine);
      for (const [name, path] of engine.sim.stats().adapters) if (this.#alien.has(path)) engine.sim.forget(name);
    }
  }

  /** A list of models that is not true. */
  #lie({ sim, slots }: Engine, about: 'more' | 'fewer' | 'paths') {
    const adapters = [...sim.stats().adapters];
    const others = this.all.flatMap((one) => (one.sim === sim ? [] : [...one.sim.stats().adapters]));
    const listed = {
      more: [...adapters, ...others.slice(0, slots)],
      fewer: adapters.slice(1),
      paths: adapters.map(([name]) => [name, '/somewhere/else'] as const),
    }[about];
    const card = (id: string, root: string, parent: string | null) => ({
      id,
      object: 'model',
      root,
      parent,
      max_model_len: 32_768,
    });
    return { object: 'list', data: [card(BASE, BASE, null), ...listed.map(([name, path]) => card(name, path, BASE))] };
  }

  #endLife(engine: Engine): void {
    this.#noteLife(engine);
    if (!this.#liars.has(engine)) this.#forgetful.delete(engine);
  }

  #noteLife(engine: Engine): void {
    const { name, slots, sim } = engine;
    const { maxDistinctInFlight, orphans } = sim.stats();
    if (maxDistinctInFlight > slots && !this.#forgetful.has(engine)) {
      this.#complaints.push(`${name} had ${maxDistinctInFlight} adapters in flight on ${slots} slots`);
    }
    for (const id of orphans) this.#orphans.add(id);
  }

  /**
   * What the gateway did to them that it must not: `whole` are the requests that were answered to their end. (Of one whose caller has left, an engine
   * may hear after the unload that follows.)
   */
  complaints(whole: ReadonlySet<string>): readonly string[] {
    for (const engine of this.all) this.#noteLife(engine);
    const bereft = [...this.#orphans].filter((id) => whole.has(id));
    return [
      ...this.#complaints.splice(0),
      ...bereft.map((id) => `an adapter was unloaded while request ${id} ran on it`),
    ];
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map(({ sim }) => sim.close()));
  }
}
