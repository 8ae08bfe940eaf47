// SkyRL: `<ckpt_path>/global_step_<n>/policy/`: shards, `huggingface/`, and with LoRA `lora_adapter/`.
// `latest_ckpt_global_step.txt` is replaced when policy, critic, data and trainer state are saved; then old steps are cleaned.
import { treeLayout } from './tree.ts';

export const skyrl = treeLayout({ role: 'policy', tracker: 'latest_ckpt_global_step.txt' });
