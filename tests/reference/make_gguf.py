#!/usr/bin/env python3
"""Small GGUF files with what is in them, by the `gguf` package of llama.cpp.

    make_gguf.py OUT [FILE.gguf]

OUT/gguf/blocks.gguf  blocks of random bytes of each type, each tensor beside its values as `gguf` dequantises them
OUT/gguf/llama.gguf   a Llama of random weights: q and k with the rows of each head in pairs, as llama.cpp's converter turns them;
                      the SentencePiece vocabulary of characters and a few pairs; beside it llama.json, the config.json that it has
OUT/gguf/bert.gguf    a BERT, with a WordPiece vocabulary; bert.json
OUT/gguf.json         digests of the tensors of llama.gguf, bert.gguf and FILE by the names of transformers, before conversion

A digest is the first 16 digits of the SHA-256 of all values as 32-bit floats; of FILE one for all tensors of each layer, in the
order of their names, and how often each code of its Q4_1 blocks occurs.
"""
import hashlib
import json
import re
import sys
from pathlib import Path

import gguf
import numpy as np

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
LLAMA = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}
BERT = {
    "token_embd": "embeddings.word_embeddings", "position_embd": "embeddings.position_embeddings",
    "token_types": "embeddings.token_type_embeddings", "token_embd_norm": "embeddings.LayerNorm",
    "attn_q": "attention.self.query", "attn_k": "attention.self.key", "attn_v": "attention.self.value",
    "attn_output": "attention.output.dense", "attn_output_norm": "attention.output.LayerNorm", "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense", "layer_output_norm": "output.LayerNorm",
}


def paired(weights, heads):
    """As `LlamaModel.permute` of llama.cpp's convert_hf_to_gguf.py."""
    shape = weights.shape
    return weights.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def halved(weights, heads):
    shape = weights.shape
    return weights.reshape(heads, shape[0] // heads // 2, 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def renamed(name, names, blocks):
    block = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(\w+)", name)
    if block:
        return f"{blocks}.{block[1]}.{names[block[2]]}.{block[3]}"
    path, kind = name.split(".")
    return f"{names[path]}.{kind}"


def digest(*tensors):
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(np.ascontiguousarray(tensor, dtype="<f4").tobytes())
    return sha.hexdigest()[:16]


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def blocks(path, rng):
    writer = gguf.GGUFWriter(path, "bert")
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        per, size = gguf.GGML_QUANT_SIZES[kind]
        count = 512 // per
        raw = rng.integers(0, 256, (count, size), dtype=np.uint8)
        # Scales that are finite: of halves the exponent below 2^0, of floats below 2^1.
        ends = {"F32": [3], "F16": [1], "BF16": [1], "Q4_1": [1, 3], "Q5_1": [1, 3], "Q4_K": [1, 3], "Q5_K": [1, 3], "Q6_K": [209]}
        for end in ends.get(name, [1]):
            raw[:, end] &= 0xBF
        raw = raw.reshape(2, -1)
        values = gguf.quants.dequantize(raw, kind).astype(np.float32)
        if name == "F32":
            raw = raw.view(np.float32)
        if name == "F16":
            raw = raw.view(np.float16)
        writer.add_tensor(f"{name}.codes", raw, raw_dtype=kind)
        writer.add_tensor(f"{name}.values", values.reshape(2, 256))
    finish(writer)


def stored(weights, kind):
    """`weights` as the type `kind`, and the values that it keeps of them."""
    kind = gguf.GGMLQuantizationType[kind]
    raw = gguf.quants.quantize(weights, kind)
    return raw, kind, gguf.quants.dequantize(raw, kind).astype(np.float32).reshape(weights.shape)


def llama(path, rng):
    hidden, inner, heads, shared, layers = 32, 64, 4, 2, 2
    letters = "abcdefghijklmnopqrstuvwxyz.,!?"
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ["\u2581"] + list(letters)
    tokens += ["\u2581t", "he", "\u2581the", "in", "er", "an"]
    kinds = [2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259)
    scores = [0.0] * 259 + [-float(i) for i in range(len(tokens) - 259)]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(128)
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(shared)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(50000.0)
    writer.add_rope_dimension_count(hidden // heads)
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(2.5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    shapes = {"token_embd.weight": (len(tokens), hidden), "output_norm.weight": (hidden,)}
    for i in range(layers):
        shapes |= {f"blk.{i}.{name}.weight": shape for name, shape in [
            ("attn_norm", (hidden,)), ("attn_q", (hidden, hidden)), ("attn_k", (hidden // heads * shared, hidden)),
            ("attn_v", (hidden // heads * shared, hidden)), ("attn_output", (hidden, hidden)), ("ffn_norm", (hidden,)),
            ("ffn_gate", (inner, hidden)), ("ffn_up", (inner, hidden)), ("ffn_down", (hidden, inner))]}
    found = {}
    for name, shape in shapes.items():
        weights = rng.standard_normal(shape).astype(np.float32)
        kind = "F32" if len(shape) == 1 else "F16" if "attn_k" in name else "Q5_0" if "attn_q" in name else "Q8_0" if "embd" in name else "Q4_1"
        count = heads if "attn_q." in name else shared if "attn_k." in name else None
        raw, dtype, values = stored(weights if count is None else paired(weights, count), kind)
        writer.add_tensor(name, raw, raw_dtype=None if kind in ("F32", "F16") else dtype)
        found[renamed(name, LLAMA, "model.layers")] = digest(values if count is None else halved(values, count))
    finish(writer)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "intermediate_size": inner,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": shared, "head_dim": hidden // heads,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 50000.0, "hidden_act": "silu",
        "rope_scaling": {"rope_type": "linear", "factor": 2.5}, "vocab_size": len(tokens), "tie_word_embeddings": True,
        "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2, "_name_or_path": "tiny",
    }
    path.with_suffix(".json").write_text(json.dumps(config, indent=1) + "\n")
    return found


def bert(path, rng):
    hidden, inner, heads, layers = 32, 64, 4, 1
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"\u2581{c}" for c in "abcdefghijklmnopqrstuvwxyz.,!?"]
    tokens += list("abcdefghijklmnopqrstuvwxyz") + ["\u2581the", "ing", "er"]
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(64)
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_layer_norm_eps(1e-12)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 5 + [1] * (len(tokens) - 5))
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    shapes = {"token_embd.weight": (len(tokens), hidden), "position_embd.weight": (64, hidden), "token_types.weight": (2, hidden),
              "token_embd_norm.weight": (hidden,), "token_embd_norm.bias": (hidden,)}
    for i in range(layers):
        for name, shape in [("attn_q", (hidden, hidden)), ("attn_k", (hidden, hidden)), ("attn_v", (hidden, hidden)),
                            ("attn_output", (hidden, hidden)), ("attn_output_norm", (hidden,)), ("ffn_up", (inner, hidden)),
                            ("ffn_down", (hidden, inner)), ("layer_output_norm", (hidden,))]:
            shapes |= {f"blk.{i}.{name}.weight": shape, f"blk.{i}.{name}.bias": shape[:1]}
    found = {}
    for name, shape in shapes.items():
        kind = "F32" if len(shape) == 1 else "Q4_0"
        raw, dtype, values = stored(rng.standard_normal(shape).astype(np.float32), kind)
        writer.add_tensor(name, raw, raw_dtype=None if kind == "F32" else dtype)
        found[renamed(name, BERT, "encoder.layer")] = digest(values)
    finish(writer)
    config = {
        "architectures": ["BertModel"], "model_type": "bert", "hidden_size": hidden, "intermediate_size": inner,
        "num_hidden_layers": layers, "num_attention_heads": heads, "max_position_embeddings": 64, "layer_norm_eps": 1e-12,
        "hidden_act": "gelu", "vocab_size": len(tokens), "type_vocab_size": 2, "pooling_type": 1,
    }
    path.with_suffix(".json").write_text(json.dumps(config, indent=1) + "\n")
    return found


def of_file(path):
    reader = gguf.GGUFReader(path)
    heads = reader.fields["llama.attention.head_count"].contents()
    shared = reader.fields["llama.attention.head_count_kv"].contents()
    layers = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        count = heads if "attn_q." in tensor.name else shared if "attn_k." in tensor.name else None
        name = renamed(tensor.name, LLAMA, "model.layers")
        layer = re.match(r"model\.layers\.\d+|", name)[0] or name
        layers.setdefault(layer, {})[name] = values if count is None else halved(values, count)
    digests = {layer: digest(*(tensors[name] for name in sorted(tensors))) for layer, tensors in layers.items()}
    # How often each code occurs in its Q4_1 tensors: the nibbles behind scale and minimum.
    counts = np.zeros(16, dtype=np.int64)
    for tensor in reader.tensors:
        if tensor.tensor_type == gguf.GGMLQuantizationType.Q4_1:
            nibbles = tensor.data.reshape(-1, 20)[:, 4:]
            counts += np.bincount((nibbles & 15).ravel(), minlength=16) + np.bincount((nibbles >> 4).ravel(), minlength=16)
    return {"layers": digests, "q4_1_codes": counts.tolist()}


def main():
    out = Path(sys.argv[1])
    (out / "gguf").mkdir(exist_ok=True)
    rng = np.random.default_rng(7)
    blocks(out / "gguf/blocks.gguf", rng)
    found = {"llama": llama(out / "gguf/llama.gguf", rng), "bert": bert(out / "gguf/bert.gguf", rng)}
    for path in sys.argv[2:]:
        found[Path(path).name] = of_file(path)
    found["versions"] = {"gguf": "0.19.0", "numpy": np.__version__}
    (out / "gguf.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
