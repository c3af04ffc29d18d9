#!/usr/bin/env python3
"""Digests of the token numbers that transformers makes of the lines of a text, for every tokenizer among the assets.

    make_tokens.py ASSETS OUT [FILE.gguf]

For each directory of ASSETS/nlp with a tokenizer, and for vocabularies of WordPiece and byte-level BPE written out from one of
them, each of 1,000 lines of data/text/wikitext2-valid.txt and data/text/shakespeare-10k.txt is encoded with its special tokens.
OUT/tokens.json has a few lines of its own (`own`) and, per tokenizer, the number of tokens, the first line's numbers, for those
that need no asset the numbers of the own lines, and the SHA-256 of all numbers as 32-bit
little-endian integers, each line's before the number of its tokens. Of a GGUF file the tokenizer is that of its metadata, built
here as its model's authors have it.
"""
import hashlib
import json
import struct
import sys
import tempfile
from pathlib import Path

import tokenizers
import transformers


# What the two texts lack: accents, other scripts, digits, emoji, white space, special tokens, control characters.
OWN = [
    "Zażółć gęślą jaźń; naïve café, Ångström!",
    "日本語のテキスト と 中文字符",
    "1234567890 3.14159 2,000,000 x86_64",
    "  two  spaces\tand a tab   ",
    "emoji 👩‍👩‍👧 🏳️‍🌈 done",
    "don't I'LL we've <s> </s> [SEP] <|endoftext|> <unk>",
    "e\u0301 versus \u00e9, \u200b zero width, \u00a0 no break, \ufeff mark",
    "def f(x):\r\n    return x**2  # comment",
    "supercalifragilisticexpialidocious" * 4,
    "Русский текст, ελληνικά, العربية, עברית, हिन्दी",
]


def lines(assets):
    texts = []
    for name, count in [("wikitext2-valid.txt", 800), ("shakespeare-10k.txt", 200)]:
        text = (assets / "data/text" / name).read_text(encoding="utf-8")
        found = [line for line in text.split("\n") if line.strip()]
        texts += found[:count]
    return texts + OWN


def digest(encode, texts):
    sha = hashlib.sha256()
    total = 0
    for text in texts:
        ids = encode(text)
        total += len(ids)
        sha.update(struct.pack(f"<{len(ids) + 1}I", *ids, len(ids)))
    return {"tokens": total, "first": encode(texts[0])[:16], "sha256": sha.hexdigest()}


def of_transformers(folder):
    # The file as it is: the class of a network would set rules of its own in place of the file's.
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    return lambda text: tokenizer(text)["input_ids"]


def written_out(assets, work, texts):
    """Vocabularies in the files of transformers' first tokenizers."""
    mini = assets / "nlp/all-MiniLM-L6-v2"
    found = {}
    for name, config in [
        ("wordpiece", {"tokenizer_class": "BertTokenizer", "do_lower_case": True}),
        ("wordpiece-cased", {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "tokenize_chinese_chars": False}),
    ]:
        folder = work / name
        folder.mkdir()
        (folder / "vocab.txt").write_bytes((mini / "vocab.txt").read_bytes())
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        tokenizer = transformers.BertTokenizer.from_pretrained(folder)
        found[name] = digest(lambda text: tokenizer(text)["input_ids"], texts)
    # A byte-level BPE trained here on the text itself: small, and the same for anybody.
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(texts, vocab_size=900, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>"], show_progress=False)
    for name, kind, config in [
        ("bpe-gpt2", transformers.GPT2Tokenizer, {"tokenizer_class": "GPT2Tokenizer"}),
        ("bpe-gpt2-bos", transformers.GPT2Tokenizer, {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "bos_token": "<|endoftext|>"}),
        ("bpe-roberta", transformers.RobertaTokenizer, {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True}),
        ("bpe-qwen2", transformers.Qwen2Tokenizer, {"tokenizer_class": "Qwen2Tokenizer"}),
    ]:
        folder = work / name
        folder.mkdir()
        trained.save_model(str(folder))
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        tokenizer = kind.from_pretrained(folder)
        encode = lambda text: tokenizer(text)["input_ids"]
        found[name] = digest(encode, texts) | {"own": [encode(text) for text in OWN]}
    return found, (work / "bpe-gpt2/vocab.json").read_text(), (work / "bpe-gpt2/merges.txt").read_text()


def of_gguf(path):
    import gguf

    fields = gguf.GGUFReader(path).fields
    value = lambda name: fields[f"tokenizer.ggml.{name}"].contents()
    assert value("model") == "gpt2" and value("pre") == "smollm", "only SmolLM2's file is known here"
    tokens, kinds = value("tokens"), value("token_type")
    merges = [tuple(pair.split(" ")) for pair in value("merges")]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    digits = tokenizers.pre_tokenizers.Digits(individual_digits=True)
    bytes_ = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([digits, bytes_])
    tokenizer.add_special_tokens([token for token, kind in zip(tokens, kinds) if kind == 3])
    return lambda text: tokenizer.encode(text).ids


def main():
    assets, out = Path(sys.argv[1]), Path(sys.argv[2])
    texts = lines(assets)
    found = {}
    for folder in sorted((assets / "nlp").iterdir()):
        if (folder / "tokenizer.json").is_file():
            found[folder.name] = digest(of_transformers(folder), texts)
    with tempfile.TemporaryDirectory() as work:
        more, vocab, merges = written_out(assets, Path(work), texts)
        found |= more
    if len(sys.argv) > 3:
        found[Path(sys.argv[3]).name] = digest(of_gguf(sys.argv[3]), texts)
    versions = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}
    (out / "tokens").mkdir(exist_ok=True)
    (out / "tokens/vocab.json").write_text(vocab)
    (out / "tokens/merges.txt").write_text(merges)
    (out / "tokens.json").write_text(json.dumps({"versions": versions, "lines": len(texts), "own": OWN, "of": found}) + "\n")


if __name__ == "__main__":
    main()
