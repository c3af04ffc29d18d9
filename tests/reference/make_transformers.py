"""Writes transformers.json: what transformers answers for small networks of every family, head and variant.

Weights are made from their names, on both sides alike (`tests/hf/mod.rs`): FNV-1a of the name seeds SplitMix64, whose upper 24
bits are numbers of -1 to 1, which are scaled by the tensor's kind. So nothing is stored but names, extents, configurations and a few
numbers of each output.

    python make_transformers.py transformers.json
"""
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

STEPS = 11
VOCABULARY = 60


def values(name, shape, dtype):
    """The tensor `name`."""
    state = np.uint64(0xCBF29CE484222325)
    with np.errstate(over="ignore"):
        for byte in name.encode():
            state = (state ^ np.uint64(byte)) * np.uint64(0x100000001B3)
        count = int(np.prod(shape))
        z = state + np.uint64(0x9E3779B97F4A7C15) * np.arange(1, count + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = (z ^ (z >> np.uint64(31))) >> np.uint64(40)
    unit = z.astype(np.float32) / np.float32(1 << 23) - np.float32(1)
    norm = len(shape) == 1 and name.endswith(".weight")
    spread = np.float32(0.3) if norm else np.float32(0.1) if len(shape) == 1 else np.float32(0.5)
    center = np.float32(1) if norm else np.float32(0)
    return torch.tensor((center + spread * unit).reshape(shape)).to(dtype)


def ids():
    return torch.tensor([[(7 * i * i + 5 * i + 2) % VOCABULARY for i in range(STEPS)]])


def image(channels, size):
    count = channels * size * size
    return torch.tensor([((i * 37) % 101) / 50 - 1 for i in range(count)], dtype=torch.float32).reshape(1, channels, size, size)


def answer(cls, config, dtype=torch.float32):
    torch.manual_seed(0)
    model = getattr(transformers, cls)(config)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        with safe_open(Path(folder) / "model.safetensors", "pt") as file:
            shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}
        tensors = {name: values(name, shape, dtype) for name, shape in shapes.items()}
        save_file(tensors, Path(folder) / "model.safetensors", {"format": "pt"})
        stated = json.loads((Path(folder) / "config.json").read_text())
        model = getattr(transformers, cls).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        if hasattr(config, "patch_size"):
            y = model(image(config.num_channels, config.image_size))
        else:
            y = model(ids())
    y = y.logits if hasattr(y, "logits") else y.last_hidden_state
    if hasattr(config, "patch_size") and not cls.endswith("Classification"):
        y = y[:, 0]
    rows = y.reshape(-1, y.shape[-1])
    second = {name.replace(".0.", ".1."): shape for name, shape in shapes.items() if ".0." in name}
    assert all(shapes.get(name) == shape for name, shape in second.items()), cls
    case = {
        "class": cls,
        "config": stated,
        # The second layer has the same ones as the first.
        "tensors": {name: shape for name, shape in shapes.items() if ".1." not in name},
        "extents": list(rows.shape),
        "output": [[round(float(v), 6) for v in row[:8]] for row in rows[[0, 4, 10]]] if len(rows) > 1 else [[round(float(v), 6) for v in rows[0][:8]]],
    }
    if dtype != torch.float32:
        case["dtype"] = str(dtype).split(".")[1]
    return case


def main(path):
    small = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    bert = lambda **more: transformers.BertConfig(**{**small, "max_position_embeddings": 20, **more})
    roberta = lambda **more: transformers.RobertaConfig(**{**small, "max_position_embeddings": 22, "type_vocab_size": 1, "pad_token_id": 2, **more})
    distil = lambda **more: transformers.DistilBertConfig(vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=20, **more)
    gpt2 = lambda **more: transformers.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=20, **{"pad_token_id": None, **more})
    llama = lambda **more: transformers.LlamaConfig(**{**small, "num_key_value_heads": 2, "max_position_embeddings": 40, **more})
    theta = {"rope_theta": 10000.0}
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8, **theta}
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 20, **theta}
    vit = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "image_size": 12, "patch_size": 4}
    three = {"num_labels": 3}
    cases = {
        "bert": answer("BertModel", bert()),
        "bert sequence": answer("BertForSequenceClassification", bert(**three)),
        "bert tokens": answer("BertForTokenClassification", bert(**three, hidden_act="relu")),
        "bert masked": answer("BertForMaskedLM", bert(hidden_act="gelu_new")),
        "roberta": answer("RobertaModel", roberta()),
        "roberta sequence": answer("RobertaForSequenceClassification", roberta(**three)),
        "roberta tokens": answer("RobertaForTokenClassification", roberta(**three)),
        "roberta masked": answer("RobertaForMaskedLM", roberta()),
        "distilbert": answer("DistilBertModel", distil()),
        "distilbert sequence": answer("DistilBertForSequenceClassification", distil(**three)),
        "distilbert tokens": answer("DistilBertForTokenClassification", distil(**three)),
        "distilbert masked": answer("DistilBertForMaskedLM", distil()),
        "gpt2": answer("GPT2LMHeadModel", gpt2()),
        "gpt2 hidden": answer("GPT2Model", gpt2(n_inner=40, activation_function="relu")),
        "gpt2 sequence": answer("GPT2ForSequenceClassification", gpt2(**three)),
        "gpt2 tokens": answer("GPT2ForTokenClassification", gpt2(**three)),
        "gpt2 scaled by layer, own head": answer("GPT2LMHeadModel", gpt2(scale_attn_by_inverse_layer_idx=True, tie_word_embeddings=False)),
        "gpt2 unscaled": answer("GPT2LMHeadModel", gpt2(scale_attn_weights=False)),
        "llama": answer("LlamaForCausalLM", llama()),
        "llama hidden": answer("LlamaModel", llama()),
        "llama sequence": answer("LlamaForSequenceClassification", llama(**three, pad_token_id=None)),
        "llama tokens": answer("LlamaForTokenClassification", llama(**three)),
        "llama one key head, tied": answer("LlamaForCausalLM", llama(num_key_value_heads=1, tie_word_embeddings=True)),
        "llama wide heads, biases": answer("LlamaForCausalLM", llama(head_dim=16, attention_bias=True, mlp_bias=True)),
        "llama linear": answer("LlamaForCausalLM", llama(rope_parameters={"rope_type": "linear", "factor": 3.0, **theta})),
        "llama llama3": answer("LlamaForCausalLM", llama(rope_parameters=llama3)),
        "llama yarn": answer("LlamaForCausalLM", llama(rope_parameters=yarn)),
        "llama yarn exact": answer("LlamaForCausalLM", llama(rope_parameters={**yarn, "truncate": False, "beta_fast": 3.0, "beta_slow": 0.2})),
        "llama bf16": answer("LlamaForCausalLM", llama(), torch.bfloat16),
        "llama f16": answer("LlamaForCausalLM", llama(), torch.float16),
        "mistral": answer("MistralForCausalLM", transformers.MistralConfig(**small, num_key_value_heads=2, sliding_window=4)),
        "mistral without window": answer("MistralForCausalLM", transformers.MistralConfig(**small, num_key_value_heads=2, sliding_window=None)),
        "qwen2": answer("Qwen2ForCausalLM", transformers.Qwen2Config(**small, num_key_value_heads=2)),
        "qwen2 window": answer("Qwen2ForCausalLM", transformers.Qwen2Config(**small, num_key_value_heads=2, tie_word_embeddings=True, use_sliding_window=True, sliding_window=3, max_window_layers=1)),
        "qwen3": answer("Qwen3ForCausalLM", transformers.Qwen3Config(**small, num_key_value_heads=2, head_dim=16)),
        "vit": answer("ViTForImageClassification", transformers.ViTConfig(**vit, **three)),
        "vit hidden, no biases": answer("ViTModel", transformers.ViTConfig(**vit, qkv_bias=False, num_channels=1)),
        "deit": answer("DeiTForImageClassification", transformers.DeiTConfig(**vit, **three)),
    }
    for case in cases.values():
        for field in ("initializer_range", "transformers_version", "use_cache", "label2id"):
            case["config"].pop(field, None)
        for field in [field for field in case["config"] if "dropout" in field or field.startswith(("summary", "eos", "bos"))]:
            case["config"].pop(field)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    lines = [f'"{name}": {json.dumps(case)}' for name, case in {"versions": versions, **cases}.items()]
    Path(path).write_text("{\n" + ",\n".join(lines) + "\n}\n")


main(sys.argv[1])
