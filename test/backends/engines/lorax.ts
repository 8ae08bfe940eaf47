// LoRAX's surface as its source of 2026-05 has it, and its quirks: loads at the first request, names an adapter by its path, says "null" for the
// model, takes no notice of `model` on /v1/embeddings, and refuses a field that is there twice (serde).
import { type Asked, type Busy, type Said, type Stand, serve, speak, weightsIn } from './server.ts';

const error = (status: number, message: string, error_type: string): Said => ({
  status,
  json: { error: message, error_type },
});

export const LORAX_REFUSALS = {
  rank: error(
    424,
    'Request failed during generation: Server error: rank of the adapter is over the maximum',
    'generation',
  ),
  noPath: error(
    424,
    'Request failed during generation: No local weights found in /x with extension .safetensors',
    'generation',
  ),
  memory: error(424, 'Request failed during generation: CUDA out of memory', 'generation'),
  input: error(422, 'Input validation error: `inputs` must be shorter', 'validation'),
} satisfies Record<string, Said>;

export async function lorax({ base = 'base' }: { readonly base?: string } = {}): Promise<Stand & Busy> {
  const busy = { isInPrefill: false };

  /** Undefined: the base. */
  function weightsFor(adapter: unknown, source: unknown): string | Said {
    if (typeof adapter !== 'string' || adapter === '' || adapter === base) return 'base';
    if (stand.refusal !== undefined) return stand.refusal;
    // --adapter-source is the hub when left out.
    if (source !== 'local')
      return error(424, `Request failed during generation: Repository Not Found: ${adapter}`, 'generation');
    try {
      return weightsIn(adapter);
    } catch {
      return LORAX_REFUSALS.noPath;
    }
  }

  function openai(asked: Asked, response: Parameters<typeof speak>[1]): Said | undefined {
    if (asked.text.split('"adapter_source":').length > 2)
      return error(422, 'Failed to deserialize the JSON body: duplicate field `adapter_source`', 'validation');
    const words = weightsFor(asked.json.model, asked.json.adapter_source);
    if (typeof words !== 'string') return words;
    const isPlainChat = asked.route.endsWith('/chat/completions') && asked.json.stream !== true;
    return speak(asked, response, { words, model: isPlainChat ? base : 'null' });
  }

  const stand = await serve((asked, response) => {
    switch (asked.route) {
      case 'GET /health':
        // Asked of the shard, which answers nobody while it loads or fills a prompt in.
        return busy.isInPrefill ? 'later' : { status: 200, json: null };
      case 'GET /info':
        return { status: 200, json: { model_id: base, version: '0.1.0', max_total_tokens: 2048 } };
      case 'GET /metrics':
        response.end('lorax_batch_current_size 2\nlorax_queue_length 1\n');
        return undefined;
      case 'POST /generate': {
        const { adapter_id, adapter_source } = asked.json.parameters as Record<string, unknown>;
        const words = weightsFor(adapter_id, adapter_source);
        return typeof words === 'string' ? { status: 200, json: { generated_text: words } } : words;
      }
      case 'POST /v1/chat/completions':
      case 'POST /v1/completions':
        return openai(asked, response);
      case 'POST /v1/embeddings':
        return { status: 200, json: { embeddings: [{ index: 0, embedding: [0], object: 'embedding' }] } };
      default:
        return undefined;
    }
  });
  return Object.assign(stand, { busy });
}
