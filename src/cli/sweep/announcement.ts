// The sweep as the gateway knows it: announced before it runs, again where a gateway that was started anew has forgotten it, withdrawn at its end.
// A sweep runs without it too, only with more loads: no failure here ends one.
import { z } from 'zod';
import { type AdminClient, check } from '../admin-client.ts';
import { Failure, type Terminal } from '../terminal.ts';

/** `left`: requests to come. */
export interface ToCome {
  readonly step: number;
  readonly left: number;
}

const announced = z.object({ id: z.string(), state: z.string() });

export class Announcement {
  readonly #admin: AdminClient;
  readonly #terminal: Terminal;
  readonly #about: { readonly model: string; readonly owner: string };
  #id: string | undefined;

  constructor(admin: AdminClient, terminal: Terminal, about: { model: string; owner: string }) {
    this.#admin = admin;
    this.#terminal = terminal;
    this.#about = about;
  }

  /** For the header of its requests; makes them an evaluation's even where it could not be announced. */
  get id(): string {
    return this.#id ?? 'not-announced';
  }

  async make(toCome: readonly ToCome[]): Promise<void> {
    const rows = toCome.filter(({ left }) => left > 0);
    const steps = rows.map(({ step }) => step);
    const requests = rows.map(({ left }) => left);
    await this.#try(async () => {
      const answer = await this.#admin.ask('POST', '/sweeps', { ...this.#about, steps, requests });
      this.#id = check(answer, announced).id;
    });
  }

  /** The gateway was away: another process may not know of it. */
  async renew(toCome: readonly ToCome[]): Promise<void> {
    const known = await this.#admin.get(`/sweeps/${this.id}`, announced).catch(() => undefined);
    if (known?.state !== 'running') await this.make(toCome);
  }

  async end(): Promise<void> {
    if (this.#id !== undefined) await this.#admin.ask('DELETE', `/sweeps/${this.#id}`).catch(() => {});
  }

  async #try(ask: () => Promise<void>): Promise<void> {
    try {
      await ask();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.#terminal.err(`it runs without being announced, so steps are not loaded ahead: ${error.message}`);
    }
  }
}
