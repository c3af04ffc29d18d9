"""Writes recurrent.json: outputs of PyTorch's and Keras' recurrent networks with seeded weights, under names of all kinds.

Every tensor is filled by a generator that starts from its NAME (`fill` below; the same as in tests/recurrent.rs), so that no
weights need storing. Made with torch 2.15 and Keras 3.15 (on torch):
    KERAS_BACKEND=torch python tests/reference/make_recurrent.py
"""

import json
import pathlib

import keras
import numpy as np
import torch
from torch import nn

STEPS, EVERY = 23, 7
torch.manual_seed(0)


def fill(name, shape):
    """FNV-1a of the name starts SplitMix64; 24 bits of each word make a value in -1..1, scaled by 2/sqrt(columns), vectors by 0.4."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(state) + np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = (z ^ (z >> np.uint64(31))) >> np.uint64(40)
    unit = z.astype(np.float32) / np.float32(2**23) - np.float32(1)
    scale = np.float32(0.4) if len(shape) == 1 else np.float32(2) / np.sqrt(np.float32(shape[-1]))
    return (unit * scale).reshape(shape)


def put(root, path, module):
    """Adds `module` to `root` under a path of several parts."""
    *outer, last = path.split(".")
    for part in outer:
        if not hasattr(root, part):
            root.add_module(part, nn.Module())
        root = getattr(root, part)
    root.add_module(last, module)


def pytorch(kind, names, tokens, features, hidden, layers=1, classes=None, tied=False, **options):
    """Embedding, modules (several if `hidden` is a list), decoder."""
    embedding, recurrent, decoder = names
    net = nn.Module()
    put(net, embedding, nn.Embedding(tokens, features))
    sizes = hidden if isinstance(hidden, list) else [hidden]
    paths = [f"{recurrent}.{i}" for i in range(len(sizes))] if isinstance(hidden, list) else [recurrent]
    inputs = features
    for path, size in zip(paths, sizes):
        module = getattr(nn, kind)(inputs, size, layers, batch_first=True, **options)
        put(net, path, module)
        inputs = (options.get("proj_size") or size) * (2 if options.get("bidirectional") else 1)
    head = nn.Linear(inputs, classes or tokens)
    put(net, decoder, head)
    tensors = net.state_dict()
    for name, tensor in tensors.items():
        tensor.copy_(torch.from_numpy(fill(name, tuple(tensor.shape))))
    if tied:
        head.weight = net.get_submodule(embedding).weight
        del tensors[f"{decoder}.weight"]
    ids = np.arange(STEPS) * 7919 % tokens
    with torch.no_grad():
        x = net.get_submodule(embedding)(torch.from_numpy(ids)[None])
        for path in paths:
            x, _ = net.get_submodule(path)(x)
        logits = head(x)[0]
    return {name: list(tensor.shape) for name, tensor in tensors.items()}, logits.numpy()


def in_keras(layers, tokens, features, classes=None):
    """Embedding, the layers, a dense layer; by the paths of the variables."""
    keras.backend.clear_session()
    ids = np.arange(STEPS) * 7919 % tokens
    net = keras.Sequential([keras.layers.Embedding(tokens, features), *layers(keras.layers), keras.layers.Dense(classes or tokens)])
    net(ids[None])
    for variable in net.weights:
        variable.assign(fill(variable.path, tuple(variable.shape)))
    shapes = {variable.path: list(variable.shape) for variable in net.weights}
    return shapes, keras.ops.convert_to_numpy(net(ids[None]))[0]


EXAMPLE = ("encoder", "rnn", "decoder")
again = {"return_sequences": True}
cases = [
    ("lstm", "2 layers", pytorch("LSTM", EXAMPLE, 40, 12, 21, 2)),
    ("gru", "2 layers", pytorch("GRU", EXAMPLE, 40, 12, 19, 2)),
    ("gru", "tied", pytorch("GRU", ("embed", "net.gru", "lm_head"), 31, 33, 33, 1, tied=True)),
    ("gru", "both directions without biases", pytorch("GRU", ("tokens.emb", "body", "fc"), 25, 9, 18, 2, bidirectional=True, bias=False)),
    ("rnn_tanh", "both directions", pytorch("RNN", ("embedding", "encoder.rnn", "out"), 25, 16, 35, 2, classes=7, bidirectional=True)),
    ("rnn_relu", "3 layers without biases", pytorch("RNN", ("embedding", "rnn", "linear"), 30, 20, 17, 3, nonlinearity="relu", bias=False)),
    ("lstm", "projected, both directions", pytorch("LSTM", ("word_embeddings", "lstm", "classifier"), 20, 14, 27, 2, bidirectional=True, proj_size=8)),
    ("lstm", "modules of different sizes", pytorch("LSTM", ("emb", "rnns", "proj"), 20, 14, [30, 11, 17])),
    ("gru", "of one number", pytorch("GRU", EXAMPLE, 2, 1, 1)),
    ("lstm", "Keras", in_keras(lambda k: [k.LSTM(17, **again), k.LSTM(13, **again)], 30, 11)),
    ("lstm", "Keras, both directions", in_keras(lambda k: [k.Bidirectional(k.LSTM(9, **again)), k.Bidirectional(k.LSTM(5, **again))], 30, 11)),
    ("gru", "Keras", in_keras(lambda k: [k.GRU(17, **again), k.GRU(20, **again)], 30, 11)),
    ("rnn_relu", "Keras", in_keras(lambda k: [k.SimpleRNN(33, activation="relu", **again)], 30, 11)),
    ("rnn_tanh", "Keras", in_keras(lambda k: [k.SimpleRNN(16, use_bias=False, **again)], 30, 11)),
]
written = [
    {"cell": cell, "what": what, "tensors": tensors, "steps": STEPS, "every": EVERY, "logits": [round(float(v), 7) for v in logits.flatten()[::EVERY]]}
    for cell, what, (tensors, logits) in cases
]
path = pathlib.Path(__file__).with_name("recurrent.json")
path.write_text(json.dumps(written, separators=(",", ":")).replace('{"cell"', '\n{"cell"') + "\n")
print({case["what"]: (case["tensors"], case["logits"][:3]) for case in written})
