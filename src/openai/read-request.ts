// Reads what a caller asks for from the body of its route, JSON or a form: the model's name, and the few fields that the gateway acts on.
// It must not know which models there are.
import type { IncomingMessage } from 'node:http';
import { StepgateError } from '../errors.ts';
import { type BodyFields, type Fields, type Span, scanBody, spliceModel } from './body.ts';
import type { Held } from './body-budget.ts';
import { boundaryOf } from './form.ts';
import { readBody } from './read-body.ts';
import { readForm, type Upload } from './read-form.ts';
import type { Route } from './routes.ts';

export interface ModelRequest {
  /** Undefined: none was named, on a route where that means the base. */
  readonly name: string | undefined;
  readonly stream: boolean;
  readonly background: boolean;
  /** The id of the answer that this one goes on from. */
  readonly previous: string | undefined;
  /** As it came. */
  readonly body: Buffer;
  /** Where the prompt is in `body`, if anywhere. */
  readonly prompt: Span | undefined;
  /** What of the body is still on its way, behind `body`. */
  readonly rest: Upload | undefined;
  /** The body with this name for the model's, in pieces that share its memory. */
  readonly named: (engineName: string) => readonly Buffer[];
}

export interface BodyLimits {
  readonly bytesMax: number;
  /** What is held in memory is counted there; whoever made it releases it. */
  readonly held: Held;
}

/** Errors: unsupported_media_type, body_too_large, no_capacity, invalid_json, invalid_request, model_required, client_closed. */
export function readRequest(incoming: IncomingMessage, route: Route, limits: BodyLimits): Promise<ModelRequest> {
  const encoding = incoming.headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity') {
    const message = `the body is in content-encoding "${encoding}"; send it as it is`;
    return Promise.reject(new StepgateError('unsupported_media_type', message));
  }
  return route.body === 'form' ? readFormRequest(incoming, limits) : readJsonRequest(incoming, route, limits);
}

async function readJsonRequest(incoming: IncomingMessage, route: Route, limits: BodyLimits): Promise<ModelRequest> {
  const type = incoming.headers['content-type'];
  if (type !== undefined && !/^application\/(?:[\w.-]+\+)?json\b/i.test(type))
    throw new StepgateError('unsupported_media_type', `the body is "${type}"; send content-type: application/json`);
  const body = await readBody(incoming, limits.bytesMax, limits.held);
  const { model, stream, background, previous, prompt } = fieldsOf(scanBody(body));
  if (model.kind === 'other')
    throw new StepgateError('invalid_request', '`model` must be a string, such as "my-model@5"', { param: 'model' });
  if (model.kind === 'absent' && route.model === 'required') throw modelRequired('body');
  return {
    name: model.kind === 'string' ? model.value : undefined,
    stream,
    background: route.keeps && background,
    previous: route.keeps ? previous : undefined,
    body,
    prompt,
    rest: undefined,
    named: (engineName) => spliceModel(body, model, engineName).pieces,
  };
}

function fieldsOf(scanned: BodyFields): Fields {
  if (scanned.kind === 'notJson') throw new StepgateError('invalid_json', `the body is not JSON: ${scanned.message}`);
  if (scanned.kind === 'notObject')
    throw new StepgateError('invalid_json', 'the body is JSON, but not an object, {...}');
  return scanned;
}

/** Whether it wants a stream may stand behind the file: it is forwarded as one that does not, and streams all the same. */
async function readFormRequest(incoming: IncomingMessage, limits: BodyLimits): Promise<ModelRequest> {
  const type = incoming.headers['content-type'];
  const boundary = boundaryOf(type);
  if (boundary === undefined)
    throw new StepgateError('unsupported_media_type', `the body is "${type ?? ''}"; send it as multipart/form-data`);
  const { model, head, rest } = await readForm(incoming, boundary, limits);
  if (model === undefined) throw modelRequired('form');
  const { value, start, end } = model;
  return {
    name: value,
    stream: false,
    background: false,
    previous: undefined,
    body: head,
    prompt: undefined,
    rest,
    named: (name) => (name === value ? [head] : [head.subarray(0, start), Buffer.from(name), head.subarray(end)]),
  };
}

const modelRequired = (what: string) =>
  new StepgateError(
    'model_required',
    `the ${what} has no \`model\`; ask for a step ("my-model@5"), a model or a base; GET /v1/models lists them`,
    { param: 'model' },
  );
