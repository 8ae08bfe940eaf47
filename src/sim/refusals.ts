// vLLM's words when it refuses, with its statuses, as seen on version 0.32. Texts only: who refuses, and when, is decided elsewhere.

/** A refusal on its way to the caller; `type` and `param` are those of the body. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly status: number;
  readonly type: string;
  readonly param: string | null;

  constructor(status: number, type: string, message: string, param: string | null = null) {
    super(message);
    this.status = status;
    this.type = type;
    this.param = param;
  }

  body(): { error: { message: string; type: string; param: string | null; code: number } } {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.status } };
  }
}

/** vLLM hides what lies under the usual roots of a machine, so that nobody can parse a path out of a message. */
const hidden = (text: string): string => text.replace(/\/(home|usr|opt|var|tmp|root|lib|mnt|srv)\/[^\s'"]*/g, '<path>');

export const unknownModel = (name: string, bases: readonly string[]): Refusal =>
  new Refusal(
    404,
    'NotFoundError',
    `The model \`${name}\` does not exist. Valid aliases: ${bases.join(', ')}.`,
    'model',
  );

export const alreadyLoaded = (name: string): Refusal =>
  new Refusal(
    400,
    'InvalidUserInput',
    `The lora adapter '${name}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.`,
  );

export const notLoaded = (name: string): Refusal =>
  new Refusal(404, 'NotFoundError', `The lora adapter '${name}' cannot be found.`);

export const nameAndPathNeeded = (): Refusal =>
  new Refusal(400, 'InvalidUserInput', "Both 'lora_name' and 'lora_path' must be provided.");

export const nameNeeded = (): Refusal =>
  new Refusal(400, 'InvalidUserInput', "'lora_name' needs to be provided to unload a LoRA adapter.");

export const noAdapterAt = (name: string, path: string): Refusal =>
  new Refusal(404, 'NotFoundError', hidden(`Loading lora ${name} failed: No adapter found for ${path}`));

/** What goes wrong in the worker while it reads an adapter comes wrapped like this. */
export const workerFailed = (message: string): Refusal =>
  new Refusal(
    500,
    'InternalServerError',
    `Call to add_lora method failed: Worker failed with error '${hidden(message)}', please check the stack trace above for the root cause`,
  );

export const engineDied = (): Refusal =>
  new Refusal(
    500,
    'InternalServerError',
    'EngineCore encountered an issue. See stack trace (above) for the root cause.',
  );

const invalidRequest = (status: number, message: string, param: string): Refusal =>
  new Refusal(status, 'invalid_request_error', message, param);

export const noSuchAnswer = (id: string): Refusal =>
  invalidRequest(404, `Response with id '${id}' not found.`, 'response_id');

export const notInBackground = (): Refusal =>
  invalidRequest(400, 'Cannot cancel a synchronous response.', 'response_id');

export const nothingKept = (): Refusal =>
  invalidRequest(
    400,
    'This vLLM engine does not support `store=True` and therefore does not support the background mode. To enable these features, set the environment variable `VLLM_ENABLE_RESPONSES_API_STORE=1` when launching the vLLM server.',
    'background',
  );

export const notSupported = (what: string): Refusal =>
  new Refusal(501, 'NotImplementedError', `The model does not support the ${what}`);

export const scaleOutOff = (): Refusal =>
  new Refusal(
    403,
    'PermissionDeniedError',
    'Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out to enable them.',
  );

const validation = (what: string, param: string | null): Refusal =>
  new Refusal(400, 'Bad Request', `1 validation error:\n  ${what}`, param);

export const notJsonType = (): Refusal =>
  validation("Unsupported Media Type: Only 'application/json' is allowed", null);

export const notJson = (): Refusal =>
  validation(
    "{'type': 'json_invalid', 'loc': 'body.1', 'msg': 'JSON decode error', 'input': '<dict of 0 items>', 'ctx': {'error': 'Expecting value'}}",
    'body.1',
  );

export const missingField = (field: string, fieldsSent: number): Refusal =>
  validation(
    `{'type': 'missing', 'loc': 'body.${field}', 'msg': 'Field required', 'input': '<dict of ${fieldsSent} items>'}`,
    `body.${field}`,
  );

export const notAString = (field: string, value: unknown): Refusal =>
  validation(
    `{'type': 'string_type', 'loc': 'body.${field}', 'msg': 'Input should be a valid string', 'input': '${JSON.stringify(value)}'}`,
    `body.${field}`,
  );

const badRequest = (message: string, param: string | null): Refusal =>
  new Refusal(400, 'BadRequestError', message, param);

export const promptNeeded = (): Refusal =>
  badRequest('Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)', 'prompt');

export const tokenUnknown = (token: unknown): Refusal => badRequest(`Token id ${token} is out of vocabulary`, null);

export const tooManyAsked = (asked: number, max: number): Refusal =>
  badRequest(
    `max_tokens=${asked} cannot be greater than max_model_len=${max}. Please request fewer output tokens. (parameter=max_tokens, value=${asked})`,
    'max_tokens',
  );

export const promptTooLong = (tokens: number, max: number): Refusal =>
  badRequest(
    `This model's maximum context length is ${max} tokens. However, your prompt contains ${tokens} input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value=${tokens})`,
    'input_tokens',
  );
