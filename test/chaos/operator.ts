// Who runs the gateway: drains engines and takes them back, and has the config read anew, good and bad, while requests are under way. Not one of them
// may fail of it. One deed after the other. A reply that is none of those that the deed deserves is a complaint.
import { setTimeout } from 'node:timers/promises';
import { call } from './admin.ts';
import type { Engine, Engines } from './engines.ts';
import type { GatewayProcess } from './gateway.ts';

/** What somebody does to the gateway as a whole. */
export type Operating =
  /** `other`: with other numbers; `without`: an engine less; `broken`: a file that must be refused. By the API, or SIGHUP. */
  | { readonly kind: 'reload'; readonly what: 'same' | 'other' | 'broken'; readonly by: 'api' | 'signal' }
  | { readonly kind: 'reload'; readonly what: 'without'; readonly engine: number; readonly by: 'api' }
  | { readonly kind: 'drain' | 'undrain'; readonly engine: number };

/** The longest request, and a machine that is busy. */
const DRAINED_MS_MAX = 20_000;
const LOOK_MS = 25;

export interface OperatorParts {
  readonly gateway: GatewayProcess;
  readonly engines: Engines;
  readonly complain: (about: string) => void;
}

export class Operator {
  readonly #parts: OperatorParts;
  /** Drained now -> what the engine had been asked for when it was empty; undefined: an engine in trouble cannot be held to it. */
  readonly #drained = new Map<Engine, number | undefined>();
  #line: Promise<void> = Promise.resolve();

  constructor(parts: OperatorParts) {
    this.#parts = parts;
  }

  carryOut(deed: Operating): void {
    this.#line = this.#line
      .then(() => this.#do(deed))
      .catch((error: unknown) => this.#parts.complain(`${JSON.stringify(deed)}: ${error}`));
  }

  /** All as it was: every engine in the config and in use. */
  async restore(): Promise<void> {
    for (const { name } of this.#drained.keys()) {
      this.carryOut({ kind: 'undrain', engine: this.#parts.engines.all.findIndex((one) => one.name === name) });
    }
    this.carryOut({ kind: 'reload', what: 'same', by: 'api' });
    await this.#line;
  }

  async #do(deed: Operating): Promise<void> {
    switch (deed.kind) {
      case 'reload':
        return await this.#reload(deed);
      case 'drain':
        return await this.#drain(this.#parts.engines.at(deed.engine));
      case 'undrain':
        return await this.#undrain(this.#parts.engines.at(deed.engine));
    }
  }

  async #reload(deed: Extract<Operating, { kind: 'reload' }>): Promise<void> {
    const { gateway, engines } = this.#parts;
    const without = deed.what === 'without' ? engines.at(deed.engine).name : undefined;
    // While it is away nobody writes its file: it would start with it.
    await gateway.isUp;
    if (!gateway.configure({ what: deed.what, without })) return;
    // What leaves the config is drained no more when it comes back.
    for (const engine of this.#drained.keys()) if (engine.name === without) this.#drained.delete(engine);
    if (deed.by === 'signal') return gateway.hangUp();
    const reply = await call(gateway, { method: 'POST', path: '/admin/v1/reload' });
    const fine =
      deed.what === 'broken' ? reply.status === 422 || reply.status === 400 || reply.retried : reply.status === 200;
    if (!fine) throw new Error(`answered ${reply.status} ${JSON.stringify(reply.body)}`);
    if (deed.what === 'broken') gateway.configure({ what: 'same', without: undefined });
  }

  async #drain(engine: Engine): Promise<void> {
    if (this.#drained.has(engine)) return;
    const { gateway, engines } = this.#parts;
    const path = `/admin/v1/backends/${engine.name}`;
    const reply = await call(gateway, { method: 'POST', path: `${path}/drain` });
    // The last one that is in use, or none of the config any more.
    if (reply.status === 404 || reply.status === 409) return;
    if (reply.status !== 200) throw new Error(`answered ${reply.status} ${JSON.stringify(reply.body)}`);
    this.#drained.set(engine, undefined);
    const end = performance.now() + DRAINED_MS_MAX;
    for (;;) {
      const { body } = await call(gateway, { method: 'GET', path });
      if ((body as { drain?: { state?: string } | null }).drain?.state === 'drained') break;
      if (performance.now() > end) throw new Error(`not empty after ${DRAINED_MS_MAX} ms`);
      await setTimeout(LOOK_MS);
    }
    if (engines.areWell) this.#drained.set(engine, engine.sim.stats().requests);
  }

  async #undrain(engine: Engine): Promise<void> {
    if (!this.#drained.has(engine)) return;
    const asked = this.#drained.get(engine);
    const { requests } = engine.sim.stats();
    if (asked !== undefined && this.#parts.engines.areWell && requests !== asked) {
      this.#parts.complain(`${engine.name} was drained, and has been sent ${requests - asked} requests since`);
    }
    this.#drained.delete(engine);
    const reply = await call(this.#parts.gateway, {
      method: 'DELETE',
      path: `/admin/v1/backends/${engine.name}/drain`,
    });
    if (reply.status !== 200 && reply.status !== 404)
      throw new Error(`answered ${reply.status} ${JSON.stringify(reply.body)}`);
  }
}
