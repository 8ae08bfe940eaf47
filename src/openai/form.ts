// Finds the `model` part of a multipart/form-data body (RFC 7578) as its bytes come by, whatever way they are cut into chunks. It holds no
// file: only what may be a delimiter, a part's head, or the name. It goes on to the end, because of two parts the engine would take the last.
//
// Stricter than engines: a part that they could read another way (odd quotes, parameters in pieces) is refused, for nobody may be
// answered by another model than the one that was found here.
import { StepgateError } from '../errors.ts';

export interface FormModel {
  readonly value: string;
  /** Byte offsets in the whole body. */
  readonly start: number;
  readonly end: number;
}

const HEAD_BYTES_MAX = 16 * 1024;
const NAME_BYTES_MAX = 4 * 1024;
const DASHES = '--';
const LINE_END = '\r\n';

/** The boundary of a `content-type: multipart/form-data`; undefined for another type. Errors: unsupported_media_type. */
export function boundaryOf(contentType: string | undefined): string | undefined {
  const { type, params } = parametersOf(contentType ?? '') ?? {};
  if (type !== 'multipart/form-data') return undefined;
  const boundary = params?.get('boundary') ?? '';
  const charset = params?.get('charset') ?? 'utf-8';
  if (/^[\w'()+,./:=?-]{1,70}$/.test(boundary) && charset.toLowerCase() === 'utf-8') return boundary;
  throw new StepgateError(
    'unsupported_media_type',
    "multipart/form-data needs a boundary of 1 to 70 letters, digits and '()+_,-./:=? and no charset but utf-8",
  );
}

export class FormScanner {
  /** Once it was found. */
  model: FormModel | undefined;
  /** The last delimiter has come: what follows is no part of the form. */
  ended = false;
  readonly #delimiter: Buffer;
  #state: 'content' | 'model' | 'head' = 'content';
  /** The bytes that are not judged yet, and their offset in the body. A line's end before the body: the first delimiter needs none. */
  #window: Buffer = Buffer.from(LINE_END);
  #offset = -LINE_END.length;

  constructor(boundary: string) {
    this.#delimiter = Buffer.from(`${LINE_END}${DASHES}${boundary}`);
  }

  /** Errors: invalid_request for a form that engines might read another way, or that has two models. */
  push(chunk: Buffer): void {
    this.#window = this.#window.length === 0 ? chunk : Buffer.concat([this.#window, chunk]);
    while (!this.ended && (this.#state === 'head' ? this.#head() : this.#content()));
    if (this.ended) this.#window = Buffer.alloc(0);
  }

  /** True when there may be more to judge. */
  #content(): boolean {
    const { length } = this.#delimiter;
    const at = this.#window.indexOf(this.#delimiter);
    if (this.#state === 'model' && (at === -1 ? this.#window.length - length : at) > NAME_BYTES_MAX) {
      throw invalid(`the part \`model\` is longer than ${NAME_BYTES_MAX} bytes`);
    }
    const after = at + length;
    if (at === -1 || this.#window.length < after + 2) {
      if (this.#state === 'content') this.#drop(at === -1 ? Math.max(0, this.#window.length - length + 1) : at);
      return false;
    }
    const next = this.#window.toString('latin1', after, after + 2);
    if (next !== LINE_END && next !== DASHES) {
      // A longer word that begins like the delimiter.
      if (this.#state === 'model') throw invalid('the part `model` holds what begins like a delimiter');
      this.#drop(at + 1);
      return true;
    }
    if (this.#state === 'model') {
      const value = this.#window.toString('utf8', 0, at);
      this.model = { value, start: this.#offset, end: this.#offset + at };
    }
    this.ended = next === DASHES;
    this.#state = 'head';
    this.#drop(after);
    return true;
  }

  /** From the line's end behind the delimiter to the empty line. */
  #head(): boolean {
    const end = this.#window.indexOf(`${LINE_END}${LINE_END}`);
    if ((end === -1 ? this.#window.length : end) > HEAD_BYTES_MAX) {
      throw invalid(`a part's head is longer than ${HEAD_BYTES_MAX} bytes`);
    }
    if (end === -1) return false;
    const name = partName(this.#window.toString('utf8', LINE_END.length, end));
    if (name === 'model' && this.model !== undefined) throw invalid('the form has two parts `model`');
    this.#state = name === 'model' ? 'model' : 'content';
    this.#drop(end + 2 * LINE_END.length);
    return true;
  }

  #drop(bytes: number): void {
    this.#window = this.#window.subarray(bytes);
    this.#offset += bytes;
  }
}

/** The name of the part with this head; a file may not be called `model`. */
function partName(head: string): string {
  const lines = head.split(LINE_END);
  const [disposition, ...more] = lines.filter((line) => /^content-disposition\s*:/i.test(line));
  const parsed = disposition === undefined ? undefined : parametersOf(disposition.slice(disposition.indexOf(':') + 1));
  const name = parsed?.params.get('name');
  if (
    more.length > 0 ||
    lines.some((line) => !/^[\w-]+:/.test(line)) ||
    parsed?.type !== 'form-data' ||
    name === undefined
  )
    throw invalid('each part needs a head with one `content-disposition: form-data; name="..."`');
  if (name === 'model' && (parsed.params.has('filename') || parsed.params.has('filename*')))
    throw invalid('the part `model` must be a field, not a file');
  return name;
}

/** A header's value and its parameters, by lower-case names; undefined when any of it could be read in two ways. */
function parametersOf(header: string): { type: string; params: Map<string, string> } | undefined {
  const [type = ''] = /^[^;]*/.exec(header) ?? [];
  const params = new Map<string, string>();
  const parameter = /;\s*([\w-]+\*?)=(?:"((?:[^"\\\r\n]|\\.)*)"|([^\s;"\\]*))\s*/gy;
  parameter.lastIndex = type.length;
  for (let at = type.length; at < header.length; at = parameter.lastIndex) {
    const [, name = '', quoted, bare = ''] = parameter.exec(header) ?? [];
    const key = name.toLowerCase();
    // A trailing semicolon says nothing.
    if (key === '' && /^;\s*$/.test(header.slice(at))) break;
    const isPlain = !key.endsWith('*') && !(quoted ?? '').includes('\\');
    if (key === '' || params.has(key) || !(isPlain || key.startsWith('filename'))) return undefined;
    params.set(key, quoted ?? bare);
  }
  return { type: type.trim().toLowerCase(), params };
}

const invalid = (what: string) =>
  new StepgateError('invalid_request', `${what}; send plain multipart/form-data`, { param: 'model' });
