"""A tiny random Llama (4 layers, hidden 256, vocabulary 512) and N LoRA checkpoints of it, laid out as the HF Trainer writes them.

usage: python make_model.py OUT_DIR [N=6] [RANK=8]

Writes OUT_DIR/base (weights, tokenizer, chat template) and OUT_DIR/outputs/my-model/checkpoint-{10,20,...}/, each with
adapter_model.safetensors (about 130 KB at rank 8), adapter_config.json and, last, trainer_state.json with falling losses.
Greedy answers of the checkpoints differ from the base's and from each other's, so token ids tell which adapter served.
"""

import json
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from make_tokenizer import VOCABULARY, write_tokenizer

LAYERS, HIDDEN = 4, 256


def write_base(path: str) -> None:
    write_tokenizer(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=512, num_hidden_layers=LAYERS, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=2048, bos_token_id=0, eos_token_id=1, pad_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(path)


def write_checkpoint(path: str, base: str, seed: int, rank: int, state: dict) -> None:
    os.makedirs(path, exist_ok=True)
    torch.manual_seed(seed)
    weights = {}
    for layer in range(LAYERS):
        for projection in ("q_proj", "v_proj"):
            name = f"base_model.model.model.layers.{layer}.self_attn.{projection}"
            weights[f"{name}.lora_A.weight"] = torch.randn(rank, HIDDEN) * 0.2
            weights[f"{name}.lora_B.weight"] = torch.randn(HIDDEN, rank) * 0.2
    save_file(weights, f"{path}/adapter_model.safetensors")
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": rank, "lora_alpha": 16,
        "lora_dropout": 0.0, "target_modules": ["q_proj", "v_proj"], "bias": "none", "modules_to_save": None,
        "use_dora": False, "use_rslora": False, "rank_pattern": {}, "alpha_pattern": {},
    }  # fmt: skip
    with open(f"{path}/adapter_config.json", "w") as file:
        json.dump(config, file)
    with open(f"{path}/trainer_state.json", "w") as file:
        json.dump(state, file)


def main(out: str, count: int, rank: int) -> None:
    write_base(f"{out}/base")
    history = []
    for i in range(1, count + 1):
        step, epoch = i * 10, i / count
        history.append({"step": step, "epoch": epoch, "loss": 3.0 / i, "learning_rate": 1e-4, "grad_norm": 1.0})
        history.append({"step": step, "epoch": epoch, "eval_loss": 3.2 / i + (0.3 if i == count else 0.0)})
        state = {
            "global_step": step, "epoch": epoch, "max_steps": count * 10, "best_metric": None, "best_global_step": None,
            "best_model_checkpoint": None, "log_history": history,
        }  # fmt: skip
        write_checkpoint(f"{out}/outputs/my-model/checkpoint-{step}", f"{out}/base", i, rank, state)
    # Last of all, so that a run that was cut short is made again.
    with open(f"{out}/COMPLETE", "w") as file:
        file.write(f"{count} checkpoints of rank {rank}\n")


if __name__ == "__main__":
    main(
        os.path.abspath(sys.argv[1]),
        int(sys.argv[2]) if len(sys.argv) > 2 else 6,
        int(sys.argv[3]) if len(sys.argv) > 3 else 8,
    )
