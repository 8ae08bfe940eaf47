// The demo's narrator: lines of time, actor and what happened, in words for someone who has never seen the gateway.
// Hears what happens from the admin listener's event stream, as any other program would.
import type { Happening } from '../../journal.ts';
import { Failure, type Terminal } from '../terminal.ts';

const ACTOR_WIDTH = 'trainer'.length;

export class Story {
  readonly #terminal: Terminal;
  readonly #startedAt = performance.now();
  readonly #heard: Happening[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #hangUp = new AbortController();

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  tell(actor: string, text: string, colour: 'plain' | 'dim' | 'green' | 'red' = 'plain'): void {
    const seconds = ((performance.now() - this.#startedAt) / 1000).toFixed(1).padStart(5);
    const line = `${seconds} s  ${actor.padEnd(ACTOR_WIDTH)}  ${text}`;
    this.#terminal.out(paint(line, this.#terminal.colour ? colour : 'plain'));
  }

  count(wanted: (happening: Happening) => boolean): number {
    return this.#heard.filter(wanted).length;
  }

  /** Resolves once such a thing has happened; at once if it has already. */
  async until(wanted: (happening: Happening) => boolean, withinMs: number, about: string): Promise<void> {
    const deadline = performance.now() + withinMs;
    while (!this.#heard.some(wanted)) {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) throw new Failure(`the demo waited ${withinMs / 1000} s in vain: ${about}`);
      await this.#next(leftMs);
    }
  }

  /** Resolves when the event stream is open; from then on nothing that happens is missed. */
  async listen(adminUrl: string): Promise<void> {
    const response = await fetch(`${adminUrl}/admin/v1/events`, { signal: this.#hangUp.signal });
    if (!response.ok || response.body === null)
      throw new Failure(`the gateway's event stream answers ${response.status}`);
    void this.#read(response.body);
  }

  close(): void {
    this.#hangUp.abort();
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    let rest = '';
    try {
      for await (const part of body.pipeThrough(new TextDecoderStream())) {
        const lines = (rest + part).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines)
          if (line.startsWith('data: ')) this.#hear(JSON.parse(line.slice('data: '.length)) as Happening);
      }
    } catch {
      // Closed by `close`, or with the gateway: the story is over either way, and `until` has its own deadline.
    }
  }

  #hear(happening: Happening): void {
    this.#heard.push(happening);
    const said = sayHappening(happening);
    if (said !== undefined) this.tell(said.actor, said.text, happening.type === 'loadFailed' ? 'red' : 'dim');
    for (const wake of this.#waiting) wake();
  }

  #next(withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, withinMs).unref();
      this.#waiting.add(wake);
    });
  }
}

/** Undefined for what the demo tells in another way, or leaves out. */
function sayHappening(happening: Happening): { actor: string; text: string } | undefined {
  switch (happening.type) {
    case 'registered':
      return {
        actor: 'gateway',
        text: `found ${happening.checkpoint}${happening.revision > 1 ? `, written again (${happening.revision})` : ''}`,
      };
    case 'unservable':
      return { actor: 'gateway', text: `${happening.checkpoint} cannot be served: ${happening.reasons.join('; ')}` };
    case 'deleted':
      return { actor: 'gateway', text: `${happening.checkpoint} was deleted` };
    case 'promoted':
      return { actor: 'gateway', text: `"${happening.model}" now means ${happening.checkpoint}` };
    case 'load':
      return {
        actor: happening.backend,
        text: `loads ${happening.adapter}: ${LOADED_BECAUSE[happening.why] ?? happening.why}`,
      };
    case 'unload':
      return {
        actor: happening.backend,
        text: `drops ${happening.adapter}: ${UNLOADED_BECAUSE[happening.why] ?? happening.why}`,
      };
    case 'loadFailed':
      return { actor: happening.backend, text: `could not load ${happening.adapter}: ${happening.about}` };
    case 'backend':
      return happening.state === 'down' ? { actor: happening.backend, text: `is down: ${happening.about}` } : undefined;
    default:
      return undefined;
  }
}

const LOADED_BECAUSE: Partial<Record<string, string>> = {
  room: 'it is asked for, and a slot is free',
  evict: 'it is asked for',
  drain: 'it is asked for, and a request has waited long',
  publish: 'the newest, before it is asked for',
  reload: 'the engine had forgotten it',
};

const UNLOADED_BECAUSE: Partial<Record<string, string>> = {
  evict: 'least asked for, its slot is needed',
  publish: 'least asked for, its slot is needed',
  drain: 'its slot is needed by a request that has waited long',
  retired: 'its checkpoint was deleted or replaced',
  quarantine: 'an engine died of it',
  surplus: 'the engine has more adapters than slots',
};

const CODES = { plain: undefined, dim: 2, green: 32, red: 31 } as const;
const paint = (text: string, colour: keyof typeof CODES) =>
  CODES[colour] === undefined ? text : `\u001b[${CODES[colour]}m${text}\u001b[0m`;
