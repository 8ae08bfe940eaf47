// The judge of the chaos run, judged: each lie that a gateway could tell is a complaint, and each row beside it is what a good one may say.
import { beforeEach, expect, test } from 'vitest';
import { Books, Register } from './books.ts';
import { judge, type Seen, type Weather } from './judge.ts';
import type { Asked, Good } from './requests.ts';

const NOW = 1_000_000;
const QUIET: Weather = { isStormy: () => false, wasDown: () => false, wasStopping: () => false };
const STORM: Weather = { ...QUIET, isStormy: () => true };
const DOWN: Weather = { ...QUIET, wasDown: () => true };

let books: Books;
/** pushed@5 has been aaaaaaaa for long, pushed@6 is deleted, pushed@9 is the newest; `champion` leads to 5. */
beforeEach(() => {
  books = new Books();
  const pushed = books.of('pushed');
  for (const [step, spoken] of [
    [5, 'aaaaaaaa'],
    [6, 'bbbbbbbb'],
    [9, 'cccccccc'],
  ] as const) {
    const register = pushed.step(step);
    register.end(
      register.begin({ kind: 'weights', digests: { spoken, stored: `${step}${step}${step}${step}1234` } }, 0),
      1,
    );
  }
  pushed.step(6).end(pushed.beginDeletion(6, 2), 3);
  pushed.alias('champion').end(pushed.alias('champion').begin(5, 4), 5);
});

const step = (number: number): Asked => ({ kind: 'step', model: 'pushed', step: number });
const ask = (asked: Asked, more: Partial<Good> = {}): Good => ({
  kind: 'good',
  key: { name: 'anna', which: 'current' },
  asked,
  route: 'chat',
  stream: false,
  tokens: 1,
  class: undefined,
  manner: 'reads',
  ...more,
});
const answer = (model: string, tag: string): Partial<Seen> => ({
  status: 200,
  model,
  body: JSON.stringify({ model, choices: [{ message: { content: `[${tag}] the loss` } }] }),
});
const refusal = (status: number, type: string, code: string, more: Partial<Seen> = {}): Partial<Seen> => ({
  status,
  body: JSON.stringify({ error: { message: 'why', type, param: null, code } }),
  ...more,
});
const stream = (...data: string[]): Partial<Seen> => ({
  status: 200,
  model: 'pushed@5',
  body: data.map((one) => `data: ${one}\n\n`).join(''),
});
const WORDS = '{"model":"pushed@5","choices":[{"delta":{"content":"[pushed@5 sha:aaaaaaaa]"}}]}';

function complaintOf(request: Good, seen: Partial<Seen>, weather = QUIET): string | undefined {
  const nothing = {
    key: new Register(true),
    status: undefined,
    model: undefined,
    retryAfter: undefined,
    about: '',
    body: '',
  } as const;
  const whole = {
    request,
    sentAt: NOW,
    endedAt: NOW + 10,
    end: 'whole',
    type: 'application/json',
    ...nothing,
    ...seen,
  } as const;
  const verdict = judge(whole, books, weather);
  return 'complaint' in verdict ? verdict.complaint : undefined;
}

test.each<[about: string, request: Good, seen: Partial<Seen>, weather: Weather | undefined]>([
  ['the step that was asked', ask(step(5)), answer('pushed@5', 'pushed@5 sha:aaaaaaaa'), QUIET],
  ['a later revision under its own adapter', ask(step(5)), answer('pushed@5', 'pushed@5-55551234 sha:aaaaaaaa'), QUIET],
  [
    'the step of an alias',
    ask({ kind: 'alias', model: 'pushed', alias: 'champion' }),
    answer('pushed@5', 'pushed@5 sha:aaaaaaaa'),
    QUIET,
  ],
  [
    'the newest',
    ask({ kind: 'bare', model: 'pushed', spelled: 'pushed' }),
    answer('pushed@9', 'pushed@9 sha:cccccccc'),
    QUIET,
  ],
  [
    'the nearest',
    ask({ kind: 'nearest', model: 'pushed', step: 8 }),
    answer('pushed@5', 'pushed@5 sha:aaaaaaaa'),
    QUIET,
  ],
  ['a stream to its end', ask(step(5), { stream: true }), stream(WORDS, '[DONE]'), QUIET],
  ['a deleted step', ask(step(6)), refusal(410, 'not_found_error', 'checkpoint_deleted'), QUIET],
  ['a step that never was', ask(step(7)), refusal(404, 'not_found_error', 'model_not_found'), QUIET],
  [
    'no engine in a storm',
    ask(step(5)),
    refusal(503, 'server_error', 'backend_unavailable', { retryAfter: '2' }),
    STORM,
  ],
  [
    'an error in a stream in a storm',
    ask(step(5), { stream: true }),
    stream(WORDS, '{"error":{"code":"backend_error"}}'),
    STORM,
  ],
  ['a connection that died with the gateway', ask(step(5)), { end: 'broken' }, DOWN],
])('no complaint: %s', (_, request, seen, weather) => {
  expect(complaintOf(request, seen, weather)).toBeUndefined();
});

test.each<[about: string, request: Good, seen: Partial<Seen>, weather: Weather, complaint: RegExp]>([
  ['another step', ask(step(5)), answer('pushed@9', 'pushed@9 sha:cccccccc'), STORM, /step 5 was asked, step 9/],
  ['the base', ask(step(5)), answer('base', 'base sha:12345678'), STORM, /pushed@5 was asked, base answered/],
  ['the base under the step’s name', ask(step(5)), answer('pushed@5', 'base sha:12345678'), STORM, /other weights/],
  ['other weights under its name', ask(step(5)), answer('pushed@5', 'pushed@5 sha:cccccccc'), STORM, /other weights/],
  [
    'its weights under another adapter',
    ask(step(5)),
    answer('pushed@5', 'pushed@9 sha:aaaaaaaa'),
    STORM,
    /by the adapter pushed@9/,
  ],
  [
    'a body that says another name',
    ask(step(5)),
    { ...answer('pushed@5', 'pushed@5 sha:aaaaaaaa'), model: 'pushed@9' },
    STORM,
    /x-stepgate-model/,
  ],
  [
    'a deleted step that answers',
    ask(step(6)),
    answer('pushed@6', 'pushed@6 sha:bbbbbbbb'),
    STORM,
    /which was deleted/,
  ],
  ['an adapter for the base', ask({ kind: 'base' }), answer('base', 'pushed@5 sha:aaaaaaaa'), STORM, /base was asked/],
  [
    'a newest that is not',
    ask({ kind: 'bare', model: 'pushed', spelled: 'pushed' }),
    answer('pushed@5', 'pushed@5 sha:aaaaaaaa'),
    STORM,
    /there was 9/,
  ],
  [
    'a nearest that is not',
    ask({ kind: 'nearest', model: 'pushed', step: 9 }),
    answer('pushed@5', 'pushed@5 sha:aaaaaaaa'),
    STORM,
    /there was 9/,
  ],
  [
    'a deletion that never was',
    ask(step(5)),
    refusal(410, 'not_found_error', 'checkpoint_deleted'),
    STORM,
    /no reason/,
  ],
  [
    'a refusal in quiet weather',
    ask(step(5)),
    refusal(502, 'server_error', 'backend_error'),
    QUIET,
    /nothing was wrong/,
  ],
  ['503 without Retry-After', ask(step(5)), refusal(503, 'server_error', 'backend_unavailable'), STORM, /Retry-After/],
  ['a code with another status', ask(step(5)), refusal(500, 'server_error', 'backend_error'), STORM, /status 500/],
  ['an error of no catalogue', ask(step(5)), { status: 500, body: 'oops' }, STORM, /none of the catalogue/],
  [
    'half an answer',
    ask(step(5)),
    { ...answer('pushed@5', 'pushed@5 sha:aaaaaaaa'), body: '{"model":"pushed@5"' },
    STORM,
    /no whole answer/,
  ],
  ['a stream without an end', ask(step(5), { stream: true }), stream(WORDS), STORM, /without its end/],
  [
    'an error in a stream in quiet weather',
    ask(step(5), { stream: true }),
    stream(WORDS, '{"error":{"code":"backend_error"}}'),
    QUIET,
    /quiet weather/,
  ],
  [
    'a connection that broke',
    ask(step(5)),
    { end: 'broken', about: 'ECONNRESET' },
    STORM,
    /while the gateway was well/,
  ],
  ['no end at all', ask(step(5)), { end: 'unended' }, STORM, /did not end/],
])('a complaint: %s', (_, request, seen, weather, complaint) => {
  expect(complaintOf(request, seen, weather)).toMatch(complaint);
});

test('a key that counts no more is refused, one that counts is not, and nobody is answered without', () => {
  const unauthorised = refusal(401, 'invalid_request_error', 'invalid_api_key');
  const good = answer('pushed@5', 'pushed@5 sha:aaaaaaaa');
  const [counts, revoked] = [new Register(true), new Register(false)];
  expect(complaintOf(ask(step(5)), { ...unauthorised, key: revoked })).toBeUndefined();
  expect(complaintOf(ask(step(5)), { ...unauthorised, key: undefined })).toBeUndefined();
  expect(complaintOf(ask(step(5)), { ...unauthorised, key: counts })).toMatch(/a key that counts was refused/);
  expect(complaintOf(ask(step(5)), { ...good, key: revoked })).toMatch(/without a key that counts/);
  expect(complaintOf(ask(step(5)), { ...good, key: undefined })).toMatch(/without a key that counts/);
  // Seed 11021: who has no key is turned away as everybody by a gateway that stops, and by no other.
  const stopping = { ...refusal(503, 'server_error', 'shutting_down', { retryAfter: '1' }), key: undefined };
  expect(complaintOf(ask(step(5)), stopping, DOWN)).toBeUndefined();
  expect(complaintOf(ask(step(5)), stopping)).toMatch(/was refused as shutting_down/);
  counts.begin(false, NOW + 5);
  expect(complaintOf(ask(step(5)), { ...unauthorised, key: counts })).toBeUndefined();
  expect(complaintOf(ask(step(5)), { ...good, key: counts })).toBeUndefined();
});

test('while a change is under way the old and the new are true, then the new alone', () => {
  const register = new Register('old');
  const change = register.begin('new', 10);
  register.end(change, 20);
  expect(register.possible(0, 5)).toEqual(['old']);
  expect(register.possible(5, 12)).toEqual(['old', 'new']);
  expect(register.possible(15, 30)).toEqual(['old', 'new']);
  expect([register.certain(15, 30), register.certain(20, 30)]).toEqual([undefined, 'new']);
});

test('a change that nobody acknowledged may have happened, until it is found that it has not', () => {
  const register = new Register('old');
  const lost = register.begin('new', 10);
  expect(register.possible(1000, 1000)).toEqual(['old', 'new']);
  register.void(lost, 2000);
  expect(register.certain(2000, 3000)).toBe('old');
});

test('the bare name goes back only where a step was deleted', () => {
  const pushed = books.of('pushed');
  expect(pushed.isBack(9, NOW, pushed.floor)).toBe(false);
  const before = pushed.floor;
  expect(pushed.isBack(5, NOW, before)).toBe(true);
  pushed.beginDeletion(9, NOW);
  expect(pushed.isBack(5, NOW, before)).toBe(false);
});
