"""Writes chapters.json: what transformers makes of the built-in `chapters` and its text.

The logits after the first 16 characters, one character a row; the score of the whole text in windows of 128, each read from an empty
context and predicting all but its first; and how greedy generation goes on with a prompt.

    python tests/reference/make_chapters.py
"""

import json
import pathlib
import tomllib

import torch
import transformers
from safetensors.torch import load_file
from torch.nn import functional as F

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "models/demo"
FIRST = 16
PROMPT, MORE = "And the LORD said unto", 64


def network():
    cards = tomllib.loads((ROOT / "models/llama.toml").read_text())["card"]
    arch = next(card for card in cards if card["name"] == "chapters")["arch"]
    config = transformers.LlamaConfig(
        vocab_size=arch["vocabulary"],
        hidden_size=arch["width"],
        intermediate_size=arch["hidden"],
        num_hidden_layers=arch["layers"],
        num_attention_heads=arch["heads"],
        num_key_value_heads=arch["kv_heads"],
        max_position_embeddings=arch["positions"],
        rms_norm_eps=arch["eps"],
        hidden_act=arch["activation"],
        rope_parameters={"rope_type": "default", "rope_theta": arch["rope"]["theta"]},
        tie_word_embeddings=arch["tied"],
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation="eager",
    )
    net = transformers.LlamaForCausalLM(config)
    weights = {name: tensor.float() for name, tensor in load_file(DEMO / "chapters.safetensors").items()}
    missing, unexpected = net.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], []), (missing, unexpected)
    net.tie_weights()
    return net.eval(), arch["positions"]


def main():
    net, window = network()
    number = json.loads((DEMO / "verses_vocab.json").read_text())
    text = (DEMO / "verses_text.txt").read_text()
    ids = torch.tensor([number[character] for character in text])
    nats, tokens, right = 0.0, 0, 0
    for part in ids.split(window):
        if len(part) > 1:
            logits = net(part[None]).logits[0, :-1]
            nats += F.cross_entropy(logits.double(), part[1:], reduction="sum").item()
            right += (logits.argmax(1) == part[1:]).sum().item()
            tokens += len(part) - 1
    prompt = torch.tensor([[number[character] for character in PROMPT]])
    character = {i: c for c, i in number.items()}
    after = net.generate(prompt, max_new_tokens=MORE, do_sample=False, pad_token_id=0)[0, len(PROMPT) :]
    document = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "tokens": tokens,
        "right": right,
        "bits_per_character": round(nats / tokens / torch.log(torch.tensor(2.0)).item(), 6),
        "prompt": PROMPT,
        "after": "".join(character[i] for i in after.tolist()),
        "logits": [[round(value, 4) for value in row] for row in net(ids[None, :FIRST]).logits[0].tolist()],
    }
    path = pathlib.Path(__file__).with_name("chapters.json")
    path.write_text(json.dumps(document).replace("], [", "],\n  [") + "\n")
    print(f"{path.name}: {path.stat().st_size} bytes; {document['bits_per_character']} bits a character of {tokens}")


if __name__ == "__main__":
    with torch.no_grad():
        main()
