// The keys of a chaos run: made, rotated and revoked while they are in use, and since when each secret counts, or counts no more.
import { call } from './admin.ts';
import { Register } from './books.ts';
import { KEY_NAMES } from './cast.ts';
import type { GatewayProcess } from './gateway.ts';
import type { Publishing } from './plan.ts';
import type { KeyUse } from './requests.ts';

/** One secret; `counts` is false from its end on. */
export interface Secret {
  readonly id: string;
  readonly text: string;
  readonly counts: Register<boolean>;
}

const FORGED: Secret = { id: '', text: `sg_0123456789ab.${'x'.repeat(43)}`, counts: new Register(false) };

export class KeyRing {
  readonly #gateway: GatewayProcess;
  readonly #current = new Map<string, Secret>();
  /** The one before it. */
  readonly #former = new Map<string, Secret>();

  constructor(gateway: GatewayProcess) {
    this.#gateway = gateway;
  }

  async begin(): Promise<void> {
    for (const name of KEY_NAMES) await this.#make(name);
  }

  /** Undefined: none is sent. */
  secret({ name, which }: KeyUse): Secret | undefined {
    if (which === 'none') return undefined;
    if (which === 'forged') return FORGED;
    return (which === 'former' ? this.#former.get(name) : undefined) ?? this.#current.get(name);
  }

  async carryOut({ name, does }: Extract<Publishing, { kind: 'key' }>): Promise<void> {
    const before = this.#current.get(name);
    if (before === undefined) throw new Error(`there is no key ${name}`);
    const end = before.counts.begin(false, performance.now());
    const path = `/admin/v1/keys/${before.id}`;
    if (does === 'rotate') {
      const reply = await call(this.#gateway, { method: 'POST', path: `${path}/rotate`, body: { graceMs: 0 } });
      this.#take(name, reply.body);
    } else {
      await call(this.#gateway, { method: 'DELETE', path });
      before.counts.end(end, performance.now());
      await this.#make(name);
    }
    before.counts.end(end, performance.now());
  }

  async #make(name: string): Promise<void> {
    const body = { name, scopes: ['use'], models: ['*'] };
    this.#take(name, (await call(this.#gateway, { method: 'POST', path: '/admin/v1/keys', body })).body);
  }

  #take(name: string, told: unknown): void {
    const { id, key } = told as { id?: string; key?: string };
    if (id === undefined || key === undefined) throw new Error(`no key was made: ${JSON.stringify(told)}`);
    const before = this.#current.get(name);
    if (before !== undefined) this.#former.set(name, before);
    this.#current.set(name, { id, text: key, counts: new Register(true) });
  }
}
