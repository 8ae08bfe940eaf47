// A service that finds a checkpoint by its name: OpenAI's routes and errors, a key, no loads. It names the model in a form of its own.
import { type Said, type Stand, serve, speak } from './server.ts';

export interface HostedOptions {
  readonly bases?: readonly string[];
  /** Model's name there -> the words of its weights; 'never': it begins a stream, and says no more. */
  readonly models?: Readonly<Record<string, string>>;
  /** Requests without it are refused. */
  readonly key?: string;
  /** It has no GET /v1/models. */
  readonly listless?: boolean;
  /** As OpenAI's chat models are: /v1/completions is refused with 404 for each model that there is. */
  readonly chatAlone?: boolean;
}

const error = (status: number, message: string, code: string | null): Said => ({
  status,
  json: { error: { message, type: 'invalid_request_error', param: 'model', code } },
});

export async function hosted(options: HostedOptions = {}): Promise<Stand & { models: Record<string, string> }> {
  const { bases = ['base'], key, listless = false, chatAlone = false } = options;
  const models: Record<string, string> = { ...options.models };
  for (const base of bases) models[base] = 'base';
  const stand = await serve((asked, response) => {
    if (key !== undefined && asked.headers.authorization !== `Bearer ${key}`)
      return error(401, 'Incorrect API key provided', 'invalid_api_key');
    switch (asked.route) {
      case 'GET /v1/models':
        if (listless) return undefined;
        return { status: 200, json: { object: 'list', data: bases.map((id) => ({ id, object: 'model' })) } };
      case 'POST /v1/chat/completions':
      case 'POST /v1/completions': {
        const model = String(asked.json.model);
        const words = models[model];
        if (words === undefined)
          return error(
            404,
            `The model \`${model}\` does not exist or you do not have access to it.`,
            'model_not_found',
          );
        if (chatAlone && asked.route.endsWith('/v1/completions'))
          return error(
            404,
            'This is a chat model and not supported in the v1/completions endpoint. Did you mean to use v1/chat/completions?',
            null,
          );
        if (words === 'never') {
          response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': wait\n\n');
          return 'later';
        }
        return speak(asked, response, { words, model: `resolved/${model}#1` });
      }
      default:
        return undefined;
    }
  });
  return Object.assign(stand, { models });
}
