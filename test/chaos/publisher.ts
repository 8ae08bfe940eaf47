// Trainers and people: writes, rewrites, registers and deletes checkpoints, moves aliases, pins, reserves, announces sweeps, as the plan says; and
// enters in the books what it begins and what the gateway has acknowledged. One deed after the other for each model. A reply that is none of those
// that the deed deserves is a complaint.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type Flaw, writeCheckpoint } from '../../src/sim/trainer.ts';
import { call, type Reply } from './admin.ts';
import type { Books, Digests, ModelBooks, Standing } from './books.ts';
import { FIRST_STEPS, MODELS } from './cast.ts';
import { Copies, type Copy, SIZE } from './copies.ts';
import type { GatewayProcess } from './gateway.ts';
import type { KeyRing } from './keys.ts';
import type { Publishing } from './plan.ts';

/** For a watched checkpoint to be taken, in any weather. */
const TAKEN_MS_MAX = 20_000;
const LOOK_MS = 25;
/** A trainer's own directory: so many steps are in it before it rotates. */
const ROTATED = 12;
const RESERVED_MS = 60_000;

/** What one deed is about. */
type Of<K extends Publishing['kind']> = Extract<Publishing, { kind: K }>;

export interface PublisherParts {
  readonly home: string;
  readonly gateway: GatewayProcess;
  readonly keys: KeyRing;
  readonly books: Books;
  readonly complain: (about: string) => void;
}

export class Publisher {
  readonly #parts: PublisherParts;
  readonly #lines = new Map<string, Promise<void>>();
  readonly #copies: Copies;

  constructor(parts: PublisherParts) {
    this.#parts = parts;
    this.#copies = new Copies(join(parts.home, 'trained'));
  }

  /** The steps that are there before the first turn. */
  async begin(): Promise<void> {
    await this.#parts.keys.begin();
    for (const { model } of MODELS) {
      for (const step of FIRST_STEPS) this.carryOut({ kind: 'write', model, step, seed: 1 });
    }
    await this.idle();
  }

  carryOut(deed: Publishing): void {
    const line = 'model' in deed ? deed.model : deed.kind === 'key' ? `key ${deed.name}` : deed.owner;
    const before = this.#lines.get(line) ?? Promise.resolve();
    const after = before.then(() => this.#do(deed)).catch((error: unknown) => this.#complain(deed, String(error)));
    this.#lines.set(line, after);
  }

  /** Until all that was begun is done. */
  async idle(): Promise<void> {
    await Promise.all(this.#lines.values());
  }

  #complain(deed: Publishing, about: string): void {
    this.#parts.complain(`${JSON.stringify(deed)}: ${about}`);
  }

  #expect(deed: Publishing, reply: Reply, fine: boolean): void {
    if (!fine) this.#complain(deed, `answered ${reply.status} ${JSON.stringify(reply.body)?.slice(0, 300)}`);
  }

  #do(deed: Publishing): Promise<void> {
    switch (deed.kind) {
      case 'write':
        return this.#write(deed);
      case 'copy':
        return this.#copy(deed);
      case 'delete':
        return this.#delete(deed);
      case 'alias':
        return this.#alias(deed);
      case 'pin':
        return this.#pin(deed);
      case 'unpin':
        return this.#unpin(deed);
      case 'reserve':
        return this.#reserve(deed);
      case 'release':
        return this.#release(deed.owner);
      case 'key':
        return this.#parts.keys.carryOut(deed);
      case 'sweep':
        return this.#sweep(deed);
    }
  }

  async #write(deed: Of<'write'>): Promise<void> {
    const { model, step, seed, flaw } = deed;
    const { home } = this.#parts;
    const copy = await this.#copies.make(`${model}@${step}`, { step, seed, ...(flaw && { flaw }) });
    if (MODELS.find((one) => one.model === model)?.comes !== 'watched') return await this.#register(deed, copy);
    await this.#change(deed, flaw === undefined ? weights(copy.digests) : { kind: 'unservable' }, async () => {
      const dir = join(home, 'runs', model);
      await writeCheckpoint({ dir, step, seed, ...SIZE, ...(flaw && { flaw }) });
      await this.#untilTaken(model, step, { digests: copy.digests, flaw });
      await rm(join(dir, `checkpoint-${step - ROTATED}`), { recursive: true, force: true });
    });
  }

  async #copy(deed: Of<'copy'>): Promise<void> {
    const copy = this.#copies.of(`${deed.from.model}@${deed.from.step}`);
    if (copy === undefined) return;
    this.#copies.keep(`${deed.model}@${deed.step}`, copy);
    await this.#register(deed, copy);
  }

  /** At the admin API, or, as a trainer does, by vLLM's routes. A watched model takes registrations too. */
  async #register(deed: Of<'write' | 'copy'>, { path, digests }: Copy): Promise<void> {
    const { model, step } = deed;
    const { gateway, books } = this.#parts;
    const now = performance.now();
    const mayStand = books
      .of(model)
      .step(step)
      .possible(now, now)
      .some(({ kind }) => kind === 'weights');
    const byTrainer = MODELS.find((one) => one.model === model)?.comes === 'trainer';
    await this.#change(deed, weights(digests), async () => {
      const reply = byTrainer
        ? await call(gateway, {
            method: 'POST',
            path: mayStand ? '/load_lora_adapter' : '/v1/load_lora_adapter',
            body: { lora_name: `${model}@${step}`, lora_path: path },
            isPublic: true,
          })
        : await call(gateway, { method: 'POST', path: `/admin/v1/models/${model}/checkpoints`, body: { step, path } });
      this.#expect(deed, reply, reply.status === (byTrainer ? 200 : 201));
    });
  }

  /** Enters a change of a step around what brings it about. */
  async #change(
    { model, step }: { model: string; step: number },
    value: Standing,
    bring: () => Promise<void>,
  ): Promise<void> {
    const book = this.#parts.books.of(model);
    const change = book.step(step).begin(value, performance.now());
    book.threaten(performance.now());
    await bring();
    const now = performance.now();
    book.step(step).end(change, now);
    // What retention had in mind for it before is over.
    for (const open of book.step(step).open) book.step(step).void(open, now);
    book.threaten(now);
  }

  async #untilTaken(
    model: string,
    step: number,
    { digests, flaw }: { digests: Digests; flaw: Flaw | undefined },
  ): Promise<void> {
    const { gateway } = this.#parts;
    const path = `/admin/v1/models/${model}/checkpoints/${step}`;
    let end = performance.now() + TAKEN_MS_MAX;
    for (;;) {
      const { body } = await call(gateway, { method: 'GET', path });
      const row = body as { state?: string; digest?: string | null };
      if (flaw === undefined ? row.digest === digests.stored && row.state !== 'deleted' : row.state === 'unservable')
        return;
      // The time that the gateway was away does not count.
      const down = gateway.downs.at(-1)?.until ?? 0;
      end = Math.max(end, Math.min(down, performance.now()) + TAKEN_MS_MAX);
      if (performance.now() > end) throw new Error(`not taken in ${TAKEN_MS_MAX} ms: ${JSON.stringify(body)}`);
      await setTimeout(LOOK_MS);
    }
  }

  async #delete(deed: Of<'delete'>): Promise<void> {
    const { model, step, by } = deed;
    const { gateway, books } = this.#parts;
    const book = books.of(model);
    const begunAt = performance.now();
    const change = book.beginDeletion(step, begunAt);
    const path = by === 'admin' ? `/admin/v1/models/${model}/checkpoints/${step}` : `/v1/models/${model}@${step}`;
    const reply = await call(gateway, { method: 'DELETE', path, isPublic: by === 'openai' });
    const now = performance.now();
    const isGone = reply.status === 200 || reply.code === 'checkpoint_deleted';
    if (isGone) book.step(step).end(change, now);
    else book.step(step).void(change, now);
    const held = book.mayBeHeld(step, begunAt, now);
    const others = book.step(step).possible(begunAt, now);
    const fine =
      (reply.status === 200 && !book.isHeld(step, begunAt)) ||
      (reply.code === 'conflict' && held) ||
      (reply.code === 'checkpoint_deleted' && (reply.retried || wasPossiblyDeleted(book, step, change.begunAt))) ||
      (reply.code === 'model_not_found' && others.some(({ kind }) => kind === 'absent'));
    this.#expect(deed, reply, fine);
  }

  async #alias(deed: Of<'alias'>): Promise<void> {
    const { model, alias, step } = deed;
    const { gateway, books } = this.#parts;
    const book = books.of(model);
    const register = book.alias(alias);
    const begunAt = performance.now();
    const before = register.possible(begunAt, begunAt);
    const change = register.begin(step, begunAt);
    const path = `/admin/v1/models/${model}/aliases/${alias}`;
    const reply = await call(
      gateway,
      step === undefined ? { method: 'DELETE', path } : { method: 'PUT', path, body: { step } },
    );
    const now = performance.now();
    const done = reply.status === 200 || (step === undefined && reply.code === 'model_not_found');
    if (done) register.end(change, now);
    else register.void(change, now);
    const target = step === undefined ? [] : book.step(step).possible(begunAt, now);
    const fine =
      reply.status === 200 ||
      (step === undefined && reply.code === 'model_not_found' && (reply.retried || before.includes(undefined))) ||
      (reply.status >= 404 && reply.status < 500 && target.some(({ kind }) => kind !== 'weights'));
    this.#expect(deed, reply, fine);
  }

  async #pin(deed: Of<'pin'>): Promise<void> {
    const { model, step } = deed;
    const { gateway, books } = this.#parts;
    const register = books.of(model).pin(step);
    const change = register.begin(true, performance.now());
    const body = { model, steps: [step], owner: 'chaos' };
    const reply = await call(gateway, { method: 'POST', path: '/admin/v1/pins', body });
    register.end(change, performance.now());
    this.#expect(deed, reply, reply.status === 201);
  }

  async #unpin(deed: Of<'unpin'>): Promise<void> {
    const { gateway, books } = this.#parts;
    const register = books.of(deed.model).pin(deed.step);
    const change = register.begin(false, performance.now());
    const { body } = await call(gateway, { method: 'GET', path: '/admin/v1/pins' });
    const pins = (body as { data: { id: string; model: string; from: number }[] }).data;
    for (const { id, model, from } of pins) {
      if (model !== deed.model || from !== deed.step) continue;
      const reply = await call(gateway, { method: 'DELETE', path: `/admin/v1/pins/${id}` });
      this.#expect(deed, reply, reply.status === 200 || reply.retried);
    }
    register.end(change, performance.now());
  }

  async #reserve(deed: Of<'reserve'>): Promise<void> {
    await this.#release(deed.owner);
    const body = { for: deed.what, slots: 1, owner: deed.owner, ttlMs: RESERVED_MS };
    const reply = await call(this.#parts.gateway, { method: 'POST', path: '/admin/v1/reservations', body });
    // Too much, or a step that is not there any more.
    this.#expect(deed, reply, reply.status === 201 || [404, 409, 410, 422].includes(reply.status));
  }

  async #release(owner: string): Promise<void> {
    const { gateway } = this.#parts;
    const { body } = await call(gateway, { method: 'GET', path: '/admin/v1/reservations' });
    for (const one of (body as { data: { id: string; owner: string }[] }).data) {
      if (one.owner === owner) await call(gateway, { method: 'DELETE', path: `/admin/v1/reservations/${one.id}` });
    }
  }

  async #sweep(deed: Of<'sweep'>): Promise<void> {
    const { model, steps, requests } = deed;
    const body = { model, steps, requests, ttlMs: 5_000 };
    const reply = await call(this.#parts.gateway, { method: 'POST', path: '/admin/v1/sweeps', body });
    this.#expect(deed, reply, reply.status === 201 || [404, 422].includes(reply.status));
  }
}

const weights = (digests: Digests): Standing => ({ kind: 'weights', digests });

/** Retention, or an earlier deletion, may have been first. */
const wasPossiblyDeleted = (book: ModelBooks, step: number, at: number): boolean =>
  book
    .step(step)
    .possible(at - 1, at)
    .some(({ kind }) => kind === 'deleted') || book.step(step).open.length > 0;
