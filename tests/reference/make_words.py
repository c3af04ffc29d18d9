#!/usr/bin/env python3
"""Tokens of texts that are given by their words, and the labels that transformers' example of token classification gives to them.

    make_words.py HERE

HERE is this folder: HERE/tokens has the vocabulary of a byte-level BPE; that of the WordPiece is written out below. The label of a
word is its own number, at its first token; others are -100, as in `tokenize_and_align_labels` of
examples/pytorch/token-classification/run_ner.py. Byte-level tokenizers of words must set a space before each (`add_prefix_space`),
which transformers demands; Qwen2's has no such switch. HERE/words.json has the result.
"""
import json
import shutil
import sys
import tempfile
from pathlib import Path

import tokenizers
import transformers

from make_tokens import OWN

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "sat", "##ing", "cafe", ",", "x", "##x", "1", "##1"]
TEXTS = [line.split() for line in OWN] + [["The", "cats", "", "sating,", "caf\u00e9", "1xx11", "\u200b", "New York"]]
BYTES = [("bpe-gpt2", transformers.GPT2Tokenizer), ("bpe-roberta", transformers.RobertaTokenizer), ("bpe-qwen2", transformers.Qwen2Tokenizer)]


def aligned(tokenizer, words, length=None):
    cut = {"truncation": True, "max_length": length} if length else {}
    encoding = tokenizer(words, is_split_into_words=True, **cut)
    labels, before = [], None
    for word in encoding.word_ids():
        labels.append(-100 if word is None or word == before else word)
        before = word if word is not None else before
    return [encoding["input_ids"], labels]


def main():
    here = Path(sys.argv[1])
    found = {}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "wordpiece"
        folder.mkdir()
        (folder / "vocab.txt").write_text("\n".join(PIECES))
        made = {"wordpiece": transformers.BertTokenizer.from_pretrained(folder)}
        for name, kind in BYTES:
            folder = Path(work) / name
            shutil.copytree(here / "tokens", folder)
            (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind.__name__}))
            spaced = {} if name == "bpe-qwen2" else {"add_prefix_space": True}
            made[name] = kind.from_pretrained(folder, **spaced)
        for name, tokenizer in made.items():
            found[name] = {"whole": [aligned(tokenizer, words) for words in TEXTS], "six": aligned(tokenizer, TEXTS[-1], 6)}
    versions = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}
    document = {"versions": versions, "pieces": PIECES, "texts": TEXTS, "of": found}
    (here / "words.json").write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")


main()
