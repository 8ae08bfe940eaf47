// The config, read anew while the gateway runs: checked whole, then followed whole, or refused with what is wrong while the old one goes on.
// One at a time, and in turn with backends that join or leave beside it. What follows it is handed in; this file decides only whether.
import type { Logger } from 'pino';
import type { Credentials } from './access/credentials.ts';
import { type Config, ConfigError } from './config.ts';
import { type ConfigChange, changesBetween, needingRestart } from './config-changes.ts';
import { StepgateError } from './errors.ts';
import type { Joined, JoinedChange } from './joined.ts';
import type { Journal } from './journal.ts';

export interface ReloadParts {
  /** Undefined: there is no file. Rejects with a ConfigError. */
  readonly read: (() => Promise<Config>) | undefined;
  /** As its file says, or its defaults. */
  readonly written: Config;
  readonly joined: Joined;
  readonly credentialsOf: (config: Config) => Promise<Credentials>;
  /** Resolves when the gateway goes by them. It can be done, as far as can be told. */
  readonly follow: (config: Config, credentials: Credentials) => Promise<void>;
  readonly isClosing: () => boolean;
  readonly journal: Journal;
  readonly log: Logger;
}

export class Reloads {
  readonly #parts: ReloadParts;
  #written: Config;
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: ReloadParts) {
    this.#parts = parts;
    this.#written = parts.written;
  }

  get joined(): Joined {
    return this.#parts.joined;
  }

  /** One more backend beside the config's, or one less. @throws StepgateError conflict, storage_full, shutting_down: nothing was changed */
  rejoin(change: JoinedChange): Promise<void> {
    return this.#inTurn(() => this.#rejoin(change));
  }

  /** What differs from before. @throws StepgateError conflict, invalid_request: nothing was changed, and why */
  reload(who: string): Promise<readonly ConfigChange[]> {
    return this.#inTurn(() => this.#reload(who));
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  async #rejoin(change: JoinedChange): Promise<void> {
    const { joined, credentialsOf, follow, isClosing, log } = this.#parts;
    if (isClosing()) throw stopping();
    try {
      const next = joined.intoAfter(this.#written, change);
      const credentials = await credentialsOf(next);
      joined.commit(change);
      await follow(next, credentials);
    } catch (error) {
      throw error instanceof ConfigError ? refusal(error) : error;
    }
    if (change.kind === 'remove') return log.info({ backend: change.name }, 'backend removed');
    const { config, origin, who } = change.backend;
    log.info({ backend: config.name, url: config.url, origin, who }, 'backend added');
  }

  async #reload(who: string): Promise<readonly ConfigChange[]> {
    const { log, journal } = this.#parts;
    try {
      const changes = await this.#follow();
      log.info(
        { who, changed: changes.map(({ key }) => key) },
        changes.length === 0 ? 'reloaded: nothing differs' : 'reloaded',
      );
      journal.tell({ type: 'reloaded', changes: changes.length, who });
      return changes;
    } catch (error) {
      const refused = error instanceof ConfigError ? refusal(error) : error;
      if (refused instanceof StepgateError)
        log.error({ who, about: refused.message }, 'reload refused: nothing was changed');
      else log.error({ who, err: error }, 'bug');
      throw refused;
    }
  }

  async #follow(): Promise<readonly ConfigChange[]> {
    const { read, joined, credentialsOf, follow, isClosing } = this.#parts;
    if (isClosing()) throw stopping();
    if (read === undefined)
      throw new StepgateError('conflict', 'there is no file to read: the gateway was started without --config');
    const next = await read();
    const changes = changesBetween(this.#written, next);
    const fixed = needingRestart(changes);
    if (fixed.length > 0)
      throw new StepgateError(
        'conflict',
        `${fixed.join(', ')}: a change of ${fixed.length === 1 ? 'this' : 'these'} needs a restart, so nothing was changed. Restart the gateway, or undo it in the file and reload`,
      );
    const whole = joined.into(next);
    const credentials = await credentialsOf(whole);
    await follow(whole, credentials);
    this.#written = next;
    return changes;
  }
}

const stopping = () => new StepgateError('shutting_down', 'the gateway is stopping');

const refusal = (error: ConfigError): StepgateError =>
  new StepgateError('invalid_request', `nothing was changed:\n${error.message}`, { cause: error });
