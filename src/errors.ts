// The catalogue of errors: callers choose a code, never a status. docs/errors.md lists the same rows (a test holds them together).
// `source` says who has to act; `retry` says whether the gateway itself may try again before the first byte.

export interface ErrorSpec {
  readonly status: number;
  /** OpenAI's `error.type`. */
  readonly type: 'invalid_request_error' | 'not_found_error' | 'permission_error' | 'rate_limit_error' | 'server_error';
  readonly source: 'client' | 'gateway' | 'backend';
  readonly retry: 'never' | 'beforeFirstByte';
  /** One line for docs/errors.md: what it means and what to do. */
  readonly about: string;
}

const spec = (
  status: number,
  type: ErrorSpec['type'],
  source: ErrorSpec['source'],
  retry: ErrorSpec['retry'],
  about: string,
) => ({ status, type, source, retry, about }) as const;

export const ERRORS = {
  invalid_json: spec(400, 'invalid_request_error', 'client', 'never', 'The body is not JSON. Send one JSON object.'),
  invalid_request: spec(
    400,
    'invalid_request_error',
    'client',
    'never',
    'A field is missing or of the wrong kind; `param` names it.',
  ),
  model_required: spec(
    400,
    'invalid_request_error',
    'client',
    'never',
    'The body names no `model`. Ask for a step (`my-model@5`), a model or a base; `GET /v1/models` lists them.',
  ),
  name_ambiguous: spec(
    400,
    'invalid_request_error',
    'client',
    'never',
    'A bare name of a model whose `latest` policy is `error`. Name the step.',
  ),
  invalid_api_key: spec(
    401,
    'invalid_request_error',
    'client',
    'never',
    'No key, or one that does not count: unknown, expired, revoked. Send one that does ([access.md](access.md)).',
  ),
  path_not_allowed: spec(
    403,
    'permission_error',
    'client',
    'never',
    'The path is outside the allowed roots. Add its directory to `roots` in the config, or copy the checkpoint there.',
  ),
  source_not_allowed: spec(
    403,
    'permission_error',
    'client',
    'never',
    'The gateway may not fetch from there. The message has the line for `sources.allow` in the config ([sources.md](sources.md)).',
  ),
  forbidden: spec(
    403,
    'permission_error',
    'client',
    'never',
    'Not allowed to this key, to pages of this origin, under this name of the host, or not at all; the message says what is.',
  ),
  model_not_found: spec(
    404,
    'not_found_error',
    'client',
    'never',
    'No such model or step. The message lists the nearest ones.',
  ),
  source_not_found: spec(
    404,
    'not_found_error',
    'client',
    'never',
    'The source was asked, and has nothing of this name. The message says what was looked for.',
  ),
  answer_not_found: spec(
    404,
    'not_found_error',
    'client',
    'never',
    'No engine keeps an answer with this id: the id is of another gateway, or its engine is not in the config any more. Ask for the answer anew.',
  ),
  backend_not_found: spec(
    404,
    'not_found_error',
    'client',
    'never',
    'No backend, or no engine of the gateway, has this name. `stepgate ps` lists them.',
  ),
  deployment_not_found: spec(
    404,
    'not_found_error',
    'client',
    'never',
    'No deployment has this name, or it has no such build (any more). `stepgate deploy` lists them.',
  ),
  key_not_found: spec(404, 'not_found_error', 'client', 'never', 'No key has this id. `stepgate keys` lists them.'),
  route_not_found: spec(
    404,
    'not_found_error',
    'client',
    'never',
    'No such route. The gateway forwards an exact list of routes (`docs/api.md`).',
  ),
  route_not_served: spec(
    404,
    'not_found_error',
    'client',
    'never',
    'The engines that serve this model are of a kind that lacks the route, or does not obey an adapter on it ([engines.md](engines.md)).',
  ),
  method_not_allowed: spec(
    405,
    'invalid_request_error',
    'client',
    'never',
    'The route exists, but not with this method.',
  ),
  request_timeout: spec(
    408,
    'invalid_request_error',
    'client',
    'never',
    'The head or the body of the request came too slowly (`limits.headMsMax`, `limits.bodyMsMax`). Send it again.',
  ),
  conflict: spec(
    409,
    'invalid_request_error',
    'client',
    'never',
    'It does not go together with what is: the name is taken, or something is in use; the message says what.',
  ),
  checkpoint_deleted: spec(
    410,
    'not_found_error',
    'client',
    'never',
    'The step existed and was deleted. Its name is not used again unless it is registered again.',
  ),
  body_too_large: spec(413, 'invalid_request_error', 'client', 'never', 'The body is over `limits.bodyBytesMax`.'),
  unsupported_media_type: spec(
    415,
    'invalid_request_error',
    'client',
    'never',
    'Send `content-type: application/json`, uploads as `multipart/form-data`, and no `content-encoding`.',
  ),
  checkpoint_not_servable: spec(
    422,
    'invalid_request_error',
    'client',
    'never',
    'The checkpoint is known, but no engine would serve it (rightly); the message says why.',
  ),
  checkpoint_invalid: spec(
    422,
    'invalid_request_error',
    'client',
    'never',
    'The directory is no complete adapter checkpoint; the message says what is missing.',
  ),
  no_capacity: spec(
    429,
    'rate_limit_error',
    'gateway',
    'never',
    'Every slot is busy and the queue is full, or the request waited its bound, or another limit is reached: the message names it ([limits.md](limits.md)). Retry after `Retry-After` seconds.',
  ),
  rate_limited: spec(
    429,
    'rate_limit_error',
    'client',
    'never',
    'The key has as many requests under way, or in this minute, as it may. Retry after `Retry-After` seconds.',
  ),
  headers_too_large: spec(431, 'invalid_request_error', 'client', 'never', "The request's headers are over the limit."),
  client_closed: spec(
    499,
    'invalid_request_error',
    'client',
    'never',
    'The caller left before the answer; seen in logs and metrics only.',
  ),
  internal_error: spec(500, 'server_error', 'gateway', 'never', 'A bug in the gateway. The log holds the request id.'),
  storage_failed: spec(
    500,
    'server_error',
    'gateway',
    'never',
    'The directory under `data` cannot be written: removed, unmounted, read-only, or a failing disk. Nothing was changed; mend it and restart the gateway.',
  ),
  backend_error: spec(
    502,
    'server_error',
    'backend',
    'beforeFirstByte',
    'The engine failed, or broke its protocol, before or while it answered.',
  ),
  source_failed: spec(
    502,
    'server_error',
    'gateway',
    'never',
    'A source could not be fetched: it does not answer, needs a key, broke off, or sent something else than it says. What broke off is kept: ask again and it goes on.',
  ),
  backend_unavailable: spec(
    503,
    'server_error',
    'backend',
    'beforeFirstByte',
    'No engine that could serve this is up. Retry after `Retry-After` seconds; `GET /ready` says which are down and why.',
  ),
  shutting_down: spec(
    503,
    'server_error',
    'gateway',
    'never',
    'The gateway is stopping. Retry after `Retry-After` seconds.',
  ),
  deadline_exceeded: spec(
    504,
    'server_error',
    'backend',
    'never',
    'The engine did not answer in time (`deadlines` in the config).',
  ),
  storage_full: spec(
    507,
    'server_error',
    'gateway',
    'never',
    'The disk under `data` is full, or the store has reached `store.bytesMax`. Nothing was changed; free space or delete steps, and try again.',
  ),
} satisfies Record<string, ErrorSpec>;

export type ErrorCode = keyof typeof ERRORS;

/** Of a message, in which a caller's own words may be: it goes into answers and log lines. */
export const MESSAGE_CHARACTERS_MAX = 4_000;

/** An error of the catalogue on its way to a caller. `message` is for people and says what to do. */
export class StepgateError extends Error {
  override readonly name = 'StepgateError';
  readonly code: ErrorCode;
  /** The request's field at fault, as in OpenAI's `error.param`. */
  readonly param: string | undefined;
  /** Seconds for the Retry-After header. */
  readonly retryAfterS: number | undefined;

  constructor(code: ErrorCode, message: string, more: { param?: string; retryAfterS?: number; cause?: unknown } = {}) {
    super(bounded(message), more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.param = more.param;
    this.retryAfterS = more.retryAfterS;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }
}

const bounded = (message: string): string =>
  message.length > MESSAGE_CHARACTERS_MAX ? `${message.slice(0, MESSAGE_CHARACTERS_MAX - 3)}...` : message;
