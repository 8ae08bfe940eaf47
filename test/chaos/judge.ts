// Whether one request ended as it should have: once, in time, with the right step's words or an error that it deserved. Pure: what is true comes
// from the books, what the weather was from the log of troubles. A complaint is a sentence; undefined: all is well.
import { ERRORS, type ErrorCode } from '../../src/errors.ts';
import type { Books, ModelBooks, Register, Standing } from './books.ts';
import { BASE, MODELS } from './cast.ts';
import { type Asked, type Good, type Nonsense, nameOf, type Request } from './requests.ts';
import { MADE_TO_FAIL } from './troubles.ts';

/** What a client saw of one request. Times are monotonic, ms. */
export interface Seen {
  readonly request: Request;
  /** Whether the key that was sent counts; undefined: none was sent. */
  readonly key: Register<boolean> | undefined;
  readonly sentAt: number;
  readonly endedAt: number;
  /** `whole`: the connection brought all that was promised. `unended`: it had to be given up long after every deadline. */
  readonly end: 'whole' | 'left' | 'broken' | 'unended';
  /** Undefined: no head came. */
  readonly status: number | undefined;
  readonly model: string | undefined;
  readonly retryAfter: string | undefined;
  readonly type: string | undefined;
  readonly body: string;
  /** Why it broke, for people. */
  readonly about: string;
}

export interface Weather {
  /** Engines were broken at some moment of that time. */
  isStormy(from: number, to: number): boolean;
  /** The gateway had been killed, or was stopping or starting. */
  wasDown(from: number, to: number): boolean;
  /** It had been asked to stop after `from`, so that what it had begun had to end well. */
  wasStopping(from: number, to: number): boolean;
}

export type Verdict = { readonly complaint: string } | { readonly outcome: string };

/** What callers may be told when an engine is broken, besides what their request deserves. */
const OF_STORMS: readonly ErrorCode[] = [
  'backend_error',
  'backend_unavailable',
  'deadline_exceeded',
  'no_capacity',
  'checkpoint_not_servable',
];
/** A request that was under way when the gateway was asked to stop, by so much, had reached it. */
const REACHED_MS = 250;

export function judge(seen: Seen, books: Books, weather: Weather): Verdict {
  const { request, sentAt, endedAt, end } = seen;
  if (end === 'unended') return no(`did not end in ${Math.round(endedAt - sentAt)} ms`);
  if (end === 'broken') return judgeBroken(seen, weather);
  const intruder = judgeKey(seen);
  if (intruder !== undefined) return intruder;
  const echo = seen.status === 200 ? wrongEcho(seen) : undefined;
  if (echo !== undefined) return no(echo);
  if (request.kind === 'nonsense') return judgeNonsense(request, seen, weather);
  // Who leaves at the head of an error does not read what it says.
  if (seen.status === undefined || (end === 'left' && seen.status !== 200)) return { outcome: 'left' };
  if (seen.status !== 200) return judgeRefusal(request, seen, { books, weather });
  const complaint = wrongAnswer(request, seen, books);
  if (complaint !== undefined) return no(complaint);
  if (end === 'left') return { outcome: 'left' };
  return judgeEnd(request, seen, weather);
}

/** Undefined: it had a key that counted, at some moment at least, and was let in. */
function judgeKey(seen: Seen): Verdict | undefined {
  const { key, status, sentAt, endedAt } = seen;
  const counts = key?.possible(sentAt, endedAt) ?? [false];
  if (seen.request.kind === 'nonsense' && seen.request.what === 'noHttp') return undefined;
  if (status === 401 && seen.end === 'whole') {
    const error = errorOf(seen);
    const wrong = error === undefined ? 'a 401 that is none of the catalogue' : wrongShape(error, seen);
    if (wrong !== undefined) return no(wrong);
    return counts.includes(false) ? { outcome: 'invalid_api_key' } : no('a key that counts was refused');
  }
  if (status === undefined || status === 401 || counts.includes(true)) return undefined;
  if (errorOf(seen)?.code === 'shutting_down') return undefined; // told to anybody, before it is looked at who asks
  return no(`answered ${status} without a key that counts`);
}

const no = (complaint: string): Verdict => ({ complaint });

function judgeBroken(seen: Seen, weather: Weather): Verdict {
  const { request, sentAt, endedAt } = seen;
  const stopped =
    weather.wasStopping(sentAt + REACHED_MS, endedAt) && !weather.wasStopping(sentAt, sentAt + REACHED_MS);
  if (stopped && !weather.isStormy(sentAt, endedAt))
    return no(`broken off (${seen.about}) by a gateway that was to let it end`);
  if (weather.wasDown(sentAt, endedAt)) return { outcome: 'broken with the gateway' };
  // An event cannot be sent to who does not read, so that one is cut.
  const sips = request.kind === 'good' && request.manner === 'sips';
  if (sips && weather.isStormy(sentAt, endedAt)) return { outcome: 'broken with its engine' };
  return no(`broken off (${seen.about}) while the gateway was well`);
}

const NONSENSE_DESERVES: Readonly<Record<Nonsense['what'], readonly ErrorCode[]>> = {
  halfJson: ['invalid_json'],
  noModel: ['model_required'],
  emptyModel: ['model_required', 'model_not_found', 'invalid_request'],
  unknownModel: ['model_not_found'],
  stepToCome: ['model_not_found'],
  bareOfMany: ['name_ambiguous'],
  unknownRoute: ['route_not_found'],
  wrongMethod: ['method_not_allowed'],
  wrongClass: ['invalid_request'],
  tooLarge: ['body_too_large'],
  encoded: ['unsupported_media_type'],
  noHttp: ['invalid_request'],
};

function judgeNonsense({ what }: Nonsense, seen: Seen, weather: Weather): Verdict {
  const error = errorOf(seen);
  if (error === undefined) return no(`nonsense (${what}) was answered ${seen.status} ${cut(seen.body)}`);
  const wrong = wrongShape(error, seen);
  if (wrong !== undefined) return no(wrong);
  const { code } = error;
  if (NONSENSE_DESERVES[what].includes(code)) return { outcome: code };
  const isDown = weather.wasDown(seen.sentAt, seen.endedAt) && ['shutting_down', 'backend_unavailable'].includes(code);
  return isDown ? { outcome: code } : no(`nonsense (${what}) was refused as ${code}: ${error.message}`);
}

interface Court {
  readonly books: Books;
  readonly weather: Weather;
}

function judgeRefusal({ asked }: Good, seen: Seen, { books, weather }: Court): Verdict {
  const { sentAt, endedAt } = seen;
  const stormy = weather.isStormy(sentAt, endedAt);
  if (isEnginesOwn(seen.body))
    return stormy ? { outcome: 'the engine’s own error' } : no(`an engine failed in quiet weather: ${cut(seen.body)}`);
  const error = errorOf(seen);
  if (error === undefined) return no(`an error that is none of the catalogue: ${seen.status} ${cut(seen.body)}`);
  const wrong = wrongShape(error, seen);
  if (wrong !== undefined) return no(wrong);
  const { code } = error;
  if (deserved(asked, seen, books).has(code)) return { outcome: code };
  if (stormy && OF_STORMS.includes(code)) return { outcome: code };
  if (weather.wasDown(sentAt, endedAt) && (code === 'shutting_down' || code === 'backend_unavailable'))
    return { outcome: code };
  return no(
    `${nameOf(asked, BASE)} was refused as ${code}, though ${stormy ? 'an engine’s trouble is no reason for that' : 'nothing was wrong'}: ${error.message}`,
  );
}

/** The refusals that follow from what the name meant at some moment of the request. */
export function deserved(
  asked: Asked,
  { sentAt, endedAt }: Pick<Seen, 'sentAt' | 'endedAt'>,
  books: Books,
): Set<ErrorCode> {
  const codes = new Set<ErrorCode>();
  const add = (standings: readonly Standing[]) => {
    for (const { kind } of standings) {
      if (kind === 'absent') codes.add('model_not_found');
      if (kind === 'deleted') codes.add('checkpoint_deleted');
      if (kind === 'unservable') codes.add('checkpoint_not_servable');
    }
  };
  if (asked.kind === 'base') return codes;
  const book = books.of(asked.model);
  if (asked.kind === 'step') add(book.step(asked.step).possible(sentAt, endedAt));
  if (asked.kind === 'alias') {
    for (const step of book.alias(asked.alias).possible(sentAt, endedAt)) {
      if (step === undefined) codes.add('model_not_found');
      // What an alias leads to is not deleted; around its moves nobody knows which came first.
      else
        add(
          book
            .step(step)
            .possible(sentAt, endedAt)
            .filter(({ kind }) => kind !== 'absent'),
        );
    }
  }
  const known = book.certain(sentAt, endedAt);
  if (asked.kind === 'bare' && known.length === 0) add([{ kind: 'absent' }, { kind: 'unservable' }]);
  if (asked.kind === 'nearest' && !known.some((step) => step <= asked.step)) codes.add('model_not_found');
  return codes;
}

const TAG = /\[([\w@.-]+) sha:([0-9a-f]{8})\]/g;

/** Who spoke: every tag in an answer. */
const tagsIn = (body: string) => [...body.matchAll(TAG)].map(([, name = '', digest = '']) => ({ name, digest }));

/** `model` in the body, in every chunk, is the header's. */
function wrongEcho({ body, model }: Seen): string | undefined {
  for (const [, echoed] of body.matchAll(/"model":"([^"]*)"/g))
    if (echoed !== model) return `x-stepgate-model says ${model}, the body ${echoed}`;
  return undefined;
}

/** The words are those of weights that the name stood for. */
function wrongAnswer({ asked }: Good, seen: Seen, books: Books): string | undefined {
  const { sentAt, endedAt, body, model = 'nothing' } = seen;
  const tags = tagsIn(body);
  if (asked.kind === 'base') {
    const alien = tags.find(({ name }) => name !== BASE);
    return model !== BASE || alien !== undefined ? `the base was asked, ${alien?.name ?? model} spoke` : undefined;
  }
  const wanted = nameOf(asked, BASE);
  const [, named, number] = /^(.+)@(\d+)$/.exec(model) ?? [];
  if (named !== asked.model || number === undefined) return `${wanted} was asked, ${model} answered`;
  const step = Number(number);
  const book = books.of(asked.model);
  const standings = book.step(step).possible(sentAt, endedAt);
  const digests = standings.flatMap((standing) => (standing.kind === 'weights' ? [standing.digests] : []));
  if (digests.length === 0)
    return `${wanted} was answered by ${model}, which was ${standings.map(({ kind }) => kind).join(' or ')}`;
  for (const { name, digest } of tags) {
    const one = digests.find(({ spoken }) => spoken === digest);
    if (one === undefined) {
      const due = digests.map(({ spoken }) => spoken).join(' or ');
      return `${model} answered with other weights: ${digest}, not ${due}`;
    }
    if (name !== model && name !== `${model}-${one.stored.slice(0, 8)}`)
      return `${model} was answered by the adapter ${name}`;
  }
  return wrongStep(asked, { step, seen, book });
}

function wrongStep(
  asked: Exclude<Asked, { kind: 'base' }>,
  { step, seen: { sentAt, endedAt }, book }: { step: number; seen: Seen; book: ModelBooks },
): string | undefined {
  const between = (from: number, to: number) => book.certain(sentAt, endedAt).find((one) => one > from && one <= to);
  switch (asked.kind) {
    case 'step':
      return step === asked.step ? undefined : `step ${asked.step} was asked, step ${step} answered`;
    case 'alias': {
      const steps = book.alias(asked.alias).possible(sentAt, endedAt);
      return steps.includes(step) ? undefined : `${asked.alias} led to ${steps.join(' or ')}, step ${step} answered`;
    }
    case 'nearest': {
      const nearer = between(step, asked.step);
      if (step <= asked.step && nearer === undefined) return undefined;
      return `the nearest step up to ${asked.step} was asked, step ${step} answered${nearer === undefined ? '' : ` and there was ${nearer}`}`;
    }
    case 'bare': {
      const isPublished = MODELS.find(({ model }) => model === asked.model)?.latest === 'published';
      const newer = isPublished ? between(step, Number.POSITIVE_INFINITY) : undefined;
      return newer === undefined ? undefined : `the newest was asked, step ${step} answered and there was ${newer}`;
    }
  }
}

/** A whole answer is whole, a stream has its end: [DONE] (or what stands for it), or an event that says what went wrong. */
function judgeEnd({ stream, route }: Good, seen: Seen, weather: Weather): Verdict {
  const { body, sentAt, endedAt } = seen;
  if (!stream) {
    if (tagsIn(body).length > 0 && parsed(body) !== undefined) return { outcome: 'ok' };
    return no(`200 with a body that is no whole answer: ${cut(body)}`);
  }
  const last = body.trimEnd().split('\n\n').at(-1) ?? '';
  const failed = /^(event: error\n)?data: \{("type":"error",)?"error":\{/m.exec(body)?.index;
  if (failed !== undefined) {
    const code = /"code":"([a-z_]+)"/.exec(body.slice(failed))?.[1] ?? 'engine';
    if (weather.isStormy(sentAt, endedAt) || weather.wasDown(sentAt, endedAt))
      return { outcome: `${code} in the stream` };
    return no(`a stream failed in quiet weather: ${cut(body.slice(failed))}`);
  }
  const end = {
    chat: 'data: [DONE]',
    completions: 'data: [DONE]',
    messages: 'event: message_stop',
    responses: 'event: response.completed',
  };
  if (!last.startsWith(end[route])) return no(`a stream ended without its end: ${cut(last)}`);
  return tagsIn(body).length > 0 ? { outcome: 'ok' } : no('a stream without a word');
}

interface ErrorSeen {
  readonly code: ErrorCode;
  readonly type: string;
  readonly message: string;
}

const isEnginesOwn = (body: string): boolean =>
  body.includes(MADE_TO_FAIL) || body.includes('EngineCore encountered an issue');

function errorOf({ body }: Seen): ErrorSeen | undefined {
  const error = (parsed(body) as { error?: ErrorSeen } | undefined)?.error;
  return error !== undefined && Object.hasOwn(ERRORS, error.code) ? error : undefined;
}

function wrongShape(
  { code, type, message }: ErrorSeen,
  { status, retryAfter, type: contentType }: Seen,
): string | undefined {
  const spec = ERRORS[code];
  if (spec.status !== status || spec.type !== type) return `${code} came with status ${status} and type ${type}`;
  if (!message || !contentType?.startsWith('application/json')) return `${code} came without a message, or not as JSON`;
  if ((status === 429 || status === 503) && retryAfter === undefined) return `${code} came without Retry-After`;
  return undefined;
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

const cut = (text: string): string => (text.length > 200 ? `${text.slice(0, 200)}...` : text);
