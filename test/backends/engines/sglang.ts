// SGLang's surface as its source of 2026 has it, and its quirks: the silent base, the silent reload, the name behind the first colon, its own shapes.
import { type Asked, type Busy, type Said, type Stand, serve, speak, weightsIn } from './server.ts';

export interface SglangOptions {
  /** --served-model-name. */
  readonly base?: string;
  /** --max-loras-per-batch. */
  readonly perBatch?: number;
  /** --enable-metrics. */
  readonly metrics?: boolean;
  /** Before 0.5.4 the model's name says nothing of an adapter; before 0.5.5 adapters are not listed. Before 0.5.6 /server_info was /get_server_info. */
  readonly age?: 'new' | 'unlisted' | 'unsplit';
}

const loraAnswer = (status: number, error_message?: string): Said => ({
  status,
  json: { success: status === 200, error_message: error_message ?? null, loaded_adapters: {} },
});

/** lora_manager.py and tokenizer_control_mixin.py. */
export const SGLANG_REFUSALS = {
  withoutLora: loraAnswer(400, 'LoRA is not enabled. Please set `--enable-lora` to enable LoRA.'),
  rank: loraAnswer(
    400,
    "LoRA adapter my-model@5 with rank 64 is incompatible with the current LoRA memory pool configuration. Please ensure that the LoRA adapter's rank is within the configured `--max-lora-rank` and that the target modules are included in `--lora-target-modules`.",
  ),
  dora: loraAnswer(400, "Failed to load my-model@5 because LoRA serving currently doesn't support DoRA adapters"),
  noPath: loraAnswer(400, "[Errno 2] No such file or directory: '/data/adapters/x/adapter_config.json'"),
  assertion: { status: 500, json: 'Internal Server Error' },
  tooOld: { status: 404, json: { detail: 'Not Found' } },
} satisfies Record<string, Said>;

export interface Sglang extends Stand, Busy {
  /** What it holds now, name -> path. */
  readonly registry: ReadonlyMap<string, string>;
}

export async function sglang({
  base = 'base',
  perBatch = 8,
  metrics = true,
  age = 'new',
}: SglangOptions = {}): Promise<Sglang> {
  const registry = new Map<string, string>();
  const self = { registry, busy: { isInPrefill: false } };
  /** What was ever loaded by this process: a request brings it back (lora_ref_cache). */
  const cache = new Map<string, string>();
  const weights = new Map<string, string>();

  function load({ lora_name, lora_path }: Record<string, unknown>): Said {
    const [name, path] = [String(lora_name), String(lora_path)];
    if (stand.refusal !== undefined) return stand.refusal;
    if (registry.has(name)) return loraAnswer(400, `Failed to load LoRA adapter ${name} because it is already loaded`);
    try {
      weights.set(name, weightsIn(path));
    } catch (error) {
      return loraAnswer(400, `[Errno 2] No such file or directory: '${path}/adapter_config.json' (${error})`);
    }
    registry.set(name, path);
    cache.set(name, path);
    return loraAnswer(200);
  }

  function unload({ lora_name }: Record<string, unknown>): Said {
    if (registry.delete(String(lora_name))) return loraAnswer(200);
    return loraAnswer(400, `LoRA with name ${lora_name} does not exist. Loaded LoRAs: dict_keys([])`);
  }

  /** _parse_model_parameter and _resolve_lora_path of serving_base.py. */
  function adapterOf({ model, lora_path }: Record<string, unknown>): string | undefined {
    const colon = age === 'unsplit' ? -1 : String(model).indexOf(':');
    const named = colon === -1 ? '' : String(model).slice(colon + 1);
    return named || (typeof lora_path === 'string' ? lora_path : undefined);
  }

  function generate(asked: Asked, response: Parameters<typeof speak>[1]): Said | undefined {
    const adapter = adapterOf(asked.json);
    if (adapter !== undefined && !cache.has(adapter)) {
      const message = `Got LoRA adapter that has never been loaded: ${adapter}\nAll loaded adapters: dict_keys([]).`;
      return { status: 400, json: { object: 'error', message, type: 'BadRequest', param: null, code: 400 } };
    }
    if (adapter !== undefined) registry.set(adapter, cache.get(adapter) ?? '');
    const words = adapter === undefined ? 'base' : (weights.get(adapter) ?? '');
    return speak(asked, response, { words, model: String(asked.json.model) });
  }

  const card = (id: string, more: object) => ({ id, object: 'model', created: 1, owned_by: 'sglang', ...more });
  const stand = await serve(
    (asked, response) => {
      switch (asked.route) {
        // A generation, and a second of sleep before it is looked at.
        case 'GET /health':
          if (!self.busy.isInPrefill) setTimeout(() => response.end(), 1000);
          return 'later';
        case 'GET /v1/models': {
          const own = card(base, { root: base, parent: null, max_model_len: 2048 });
          const listed = age === 'unlisted' ? [] : [...registry];
          const loaded = listed.map(([id, root]) => card(id, { root, parent: base, max_model_len: null }));
          return { status: 200, json: { object: 'list', data: [own, ...loaded] } };
        }
        case age === 'new' ? 'GET /server_info' : 'GET /get_server_info':
          if (self.busy.isInPrefill) return 'later';
          return { status: 200, json: { version: '0.5.10', enable_lora: true, max_loras_per_batch: perBatch } };
        case 'GET /metrics':
          if (!metrics) return undefined;
          response.end(
            'sglang:num_running_reqs{model_name="base"} 2.0\nsglang:num_queue_reqs{model_name="base"} 1.0\n',
          );
          return undefined;
        case 'POST /load_lora_adapter':
          return load(asked.json);
        case 'POST /unload_lora_adapter':
          return unload(asked.json);
        case 'POST /v1/chat/completions':
        case 'POST /v1/completions':
          return generate(asked, response);
        default:
          return undefined;
      }
    },
    () => {
      for (const map of [registry, cache, weights]) map.clear();
    },
  );
  return Object.assign(stand, self);
}
