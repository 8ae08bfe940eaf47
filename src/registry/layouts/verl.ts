// verl: `checkpoints/<project>/<experiment>/global_step_<n>/actor/`: shards, `huggingface/` (config and tokenizer), and with LoRA
// `lora_adapter/` (weights, then config). `latest_checkpointed_iteration.txt` is written when all roles are saved.
import { treeLayout } from './tree.ts';

export const verl = treeLayout({ role: 'actor', tracker: 'latest_checkpointed_iteration.txt' });
