// The simulated engine behind its HTTP surface: which names it knows, whose weights it holds, and the loop that gives every running sequence
// a token per step. One loop owns it, so a load stalls all decoding, as in vLLM. Files and time come in as arguments; no HTTP here.
import type { Weights } from './adapter-files.ts';
import { digestOfBase, type Speaker } from './answers.ts';
import type { Clock } from './clock.ts';
import { alreadyLoaded, engineDied, notLoaded, unknownModel } from './refusals.ts';
import { Scheduler } from './scheduler.ts';

export interface EngineOptions {
  /** Served names of the base; the first one is shown as the adapters' parent. */
  readonly bases: readonly string[];
  readonly maxLoras: number;
  /** Adapters whose weights stay in memory; the rest are read again when used. */
  readonly maxCpuLoras: number;
  readonly maxNumSeqs: number;
  readonly loadMs: number;
  readonly firstTokenMs: number;
  /** One step with one sequence; every further one adds `GROWTH` of it. */
  readonly tokenMs: number;
  /** What it dies of, and when. */
  readonly poison: Readonly<Record<string, 'load' | 'use'>>;
}

/** How the caller of `submit` hears of its sequence. `token` returns false when that was the last one. */
export interface Listener {
  /** Told once, when the engine has the weights at hand. */
  start(speaker: Speaker): void;
  token(): boolean;
  /** `isOrphan`: its adapter was unloaded while it was in flight. */
  end(outcome: 'done' | 'died', isOrphan: boolean): void;
}

interface Registered {
  readonly number: number;
  readonly name: string;
  readonly path: string;
}

interface Running {
  readonly adapter: number | undefined;
  readonly registered: Registered | undefined;
  readonly base: string;
  readonly listener: Listener;
  started: boolean;
  firstTokenAt: number;
  isOrphan: boolean;
}

const GROWTH = 0.03;

export class Engine {
  readonly #options: EngineOptions;
  readonly #clock: Clock;
  readonly #read: (name: string, path: string) => Promise<Weights>;
  readonly #scheduler: Scheduler<Running>;
  readonly #names = new Map<string, Registered>();
  /** Weights in memory by number of the load, least recently used first. */
  readonly #memory = new Map<number, Weights>();
  /** Work that stalls the loop: loads. */
  readonly #jobs: (() => Promise<void>)[] = [];
  readonly #loading = new Map<string, Promise<void>>();
  #numbers = 0;
  #looping = false;
  dead = false;
  /** Called after each step with the names of the adapters that still run. */
  onStep: (running: readonly string[]) => void = () => {};
  onDeath: () => void = () => {};
  rereads = 0;

  constructor(options: EngineOptions, clock: Clock, read: (name: string, path: string) => Promise<Weights>) {
    this.#options = options;
    this.#clock = clock;
    this.#read = read;
    this.#scheduler = new Scheduler(options);
  }

  get running(): number {
    return this.#scheduler.running.size;
  }

  get waiting(): number {
    return this.#scheduler.waiting.length;
  }

  /** Registered names and their paths, in order of loading. */
  adapters(): Map<string, string> {
    return new Map(Array.from(this.#names.values(), ({ name, path }) => [name, path]));
  }

  /** Names with a sequence, running or waiting, and how many; the base under its own name. */
  inFlight(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { registered, base } of [...this.#scheduler.running, ...this.#scheduler.waiting]) {
      const name = registered?.name ?? base;
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return counts;
  }

  /** Distinct adapters with a sequence, running or waiting. */
  adaptersInFlight(): number {
    const numbers = new Set<number>();
    for (const { adapter } of this.#scheduler.running) if (adapter !== undefined) numbers.add(adapter);
    for (const { adapter } of this.#scheduler.waiting) if (adapter !== undefined) numbers.add(adapter);
    return numbers.size;
  }

  /** Throws vLLM's refusal for a name that it does not know. */
  find(name: string): void {
    if (!this.#names.has(name) && !this.#options.bases.includes(name)) throw unknownModel(name, this.#options.bases);
  }

  /** Who would answer under this name now, for the routes that make no tokens. The engine may have to read the files again. */
  async speaker(name: string): Promise<Speaker> {
    this.find(name);
    const registered = this.#names.get(name);
    if (!registered) return { name, digest: digestOfBase(name) };
    return { name, digest: (await this.#weights(registered)).digest };
  }

  /** Never cancelled by its caller's leaving. A second load of the same name waits for the first, then is refused. */
  async load(name: string, path: string, stallMs = 0): Promise<void> {
    while (this.#loading.has(name)) await this.#loading.get(name)?.catch(() => {});
    if (this.dead) throw engineDied();
    if (this.#names.has(name)) throw alreadyLoaded(name);
    const loading = new Promise<void>((resolve, reject) => {
      this.#jobs.push(() => this.#loadNow(name, path, stallMs).then(resolve, reject));
    });
    this.#loading.set(name, loading);
    this.#wake();
    try {
      await loading;
    } finally {
      this.#loading.delete(name);
    }
  }

  /** Forgets the name and no more: sequences in flight go on, the weights stay in memory until they are evicted. */
  unload(name: string): void {
    this.forget(name);
    for (const sequence of [...this.#scheduler.running, ...this.#scheduler.waiting]) {
      if (sequence.registered?.name === name) sequence.isOrphan = true;
    }
  }

  /** The same without anybody having asked. */
  forget(name: string): void {
    if (!this.#names.delete(name)) throw notLoaded(name);
  }

  /** Returns the way to abort it. The listener hears `end` exactly once, but not after an abort. */
  submit(name: string, listener: Listener): () => void {
    if (this.dead) throw engineDied();
    this.find(name);
    const registered = this.#names.get(name);
    const sequence: Running = {
      adapter: registered?.number,
      registered,
      base: name,
      listener,
      started: false,
      firstTokenAt: 0,
      isOrphan: false,
    };
    this.#scheduler.add(sequence);
    this.#wake();
    return () => this.#scheduler.remove(sequence);
  }

  /** As when EngineCore falls over: every sequence ends with an error and nothing runs again. */
  die(): void {
    if (this.dead) return;
    this.dead = true;
    const bereft = [...this.#scheduler.running, ...this.#scheduler.waiting];
    this.#scheduler.clear();
    for (const { listener, isOrphan } of bereft) listener.end('died', isOrphan);
    this.onDeath();
  }

  async #loadNow(name: string, path: string, stallMs: number): Promise<void> {
    const weights = await this.#read(name, path);
    await this.#clock.sleep(this.#options.loadMs + stallMs);
    if (this.#options.poison[name] === 'load') this.die();
    if (this.dead) throw engineDied();
    this.#numbers += 1;
    this.#names.set(name, { number: this.#numbers, name, path });
    this.#keep(this.#numbers, weights);
  }

  #keep(number: number, weights: Weights): void {
    this.#memory.delete(number);
    this.#memory.set(number, weights);
    for (const oldest of this.#memory.keys()) {
      if (this.#memory.size <= Math.max(this.#options.maxCpuLoras, this.#options.maxLoras)) return;
      this.#memory.delete(oldest);
    }
  }

  /** From memory, else from the files again. Files that are gone kill the whole engine, not the one request. */
  async #weights(registered: Registered): Promise<Weights> {
    let weights = this.#memory.get(registered.number);
    if (!weights) {
      this.rereads += 1;
      try {
        weights = await this.#read(registered.name, registered.path);
      } catch {
        this.die();
        throw engineDied();
      }
      await this.#clock.sleep(this.#options.loadMs);
    }
    this.#keep(registered.number, weights);
    return weights;
  }

  #wake(): void {
    if (this.#looping || this.dead) return;
    this.#looping = true;
    void this.#loop();
  }

  async #loop(): Promise<void> {
    while (!this.dead) {
      const job = this.#jobs.shift();
      if (job) await job();
      else if (this.#scheduler.waiting.length + this.#scheduler.running.size > 0) await this.#step();
      else break;
    }
    this.#looping = false;
    if (this.dead) for (const job of this.#jobs.splice(0)) void job();
  }

  async #step(): Promise<void> {
    for (const sequence of this.#scheduler.admit()) {
      sequence.firstTokenAt = this.#clock.now() + this.#options.firstTokenMs;
    }
    try {
      await this.#bringWeights();
    } catch {
      return; // It died of it, and every sequence has heard.
    }
    await this.#clock.sleep(this.#stepMs());
    const now = this.#clock.now();
    for (const sequence of this.#scheduler.running) {
      if (now < sequence.firstTokenAt || sequence.listener.token()) continue;
      this.#scheduler.remove(sequence);
      sequence.listener.end('done', sequence.isOrphan);
    }
    const names = Array.from(this.#scheduler.running, ({ registered }) => registered?.name);
    this.onStep([...new Set(names.filter((name) => name !== undefined))].sort());
  }

  async #bringWeights(): Promise<void> {
    for (const sequence of this.#scheduler.running) {
      const { registered, base } = sequence;
      if (this.#options.poison[registered?.name ?? ''] === 'use') this.die();
      if (this.dead) throw engineDied();
      const digest = registered ? (await this.#weights(registered)).digest : digestOfBase(base);
      if (sequence.started) continue;
      sequence.started = true;
      sequence.listener.start({ name: registered?.name ?? base, digest });
    }
  }

  /** One token's time where something decodes; while all still wait for their first token, the time until the first of those. */
  #stepMs(): number {
    const { tokenMs } = this.#options;
    const stepMs = tokenMs * (1 + GROWTH * (this.#scheduler.running.size - 1));
    const now = this.#clock.now();
    const soonest = Math.min(...Array.from(this.#scheduler.running, (sequence) => sequence.firstTokenAt - now));
    return soonest > stepMs ? Math.min(soonest, Math.max(stepMs, 1)) : stepMs;
  }
}
