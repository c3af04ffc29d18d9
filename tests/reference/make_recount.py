"""Counts two layers of MiniLM again, by loops of numpy over what deadweight says that they multiply.

    pip install numpy safetensors
    printf '%s\n' "$(python make_recount.py --text)" > line.txt
    cargo run --release --example operands -- DIR line.txt operands.safetensors LINEAR ATTENTION
    python make_recount.py DIR operands.safetensors > recount.json

DIR is the directory of sentence-transformers/all-MiniLM-L6-v2. Definitions: fixed16, naf terms, widths in sign and magnitude; the
operands are as the engine computed them, all that is counted is counted here. The weights are read from the checkpoint.
"""

import json
import sys

import numpy as np
from safetensors.numpy import load_file

TEXT = "In 1969 two men walked on the Moon, and half a billion people watched them."
LINEAR = "encoder.layer.0.intermediate.dense"
ATTENTION = "encoder.layer.0.attention"
HEADS = 12


def codes(x, probabilities=False):
    """fixed16: the largest power of two as scale under which no code passes 15 bits."""
    largest = float(np.abs(x).max())
    limit = 2**15 - 1
    f = 15 if probabilities else int(np.floor(np.log2(limit / largest)))
    while not probabilities and largest * 2.0**f > limit:
        f -= 1
    return np.clip(np.rint(x.astype(np.float64) * 2.0**f), -limit, limit).astype(np.int64)


def bits(q):
    return np.ceil(np.log2(np.abs(q) + 1)).astype(np.int64)


def width(q):
    return bits(q) + (q < 0)


def naf(q):
    m = np.abs(q)
    return np.array([bin(int(a) ^ (3 * int(a))).count("1") for a in m.ravel()]).reshape(m.shape)


def groups(q, visible=None):
    """For each value the width of its group of 16 along the last axis, of those that are visible."""
    out = np.zeros_like(q)
    for first in range(0, q.shape[-1], 16):
        part = q[..., first : first + 16]
        out[..., first : first + 16] = (bits(part).max(-1) + (part < 0).any(-1))[..., None]
    return out


def count(a, b):
    """Sums over MACs of rows of a [M, K] with rows of b [N, K], one output after another."""
    na, nb = a != 0, b != 0
    of = {"a": [na, width(a), groups(a), naf(a)], "b": [nb, width(b), groups(b), naf(b)]}
    sums = dict.fromkeys(
        "dense effectual zero_both zero_activation zero_weight A W W+A Ap.value Ap.g16 Wp.value Wp.g16 Ae We We+Ae W+Ap W+Ae W+A+Ap W+A+Ae".split(), 0
    )
    for i in range(a.shape[0]):
        n, w, g, t = (x[i].astype(np.int64) for x in of["a"])
        for j in range(b.shape[0]):
            m, v, h, u = (x[j].astype(np.int64) for x in of["b"])
            add = {
                "dense": n.size, "effectual": n @ m, "zero_both": (1 - n) @ (1 - m), "zero_activation": (1 - n) @ m,
                "zero_weight": n @ (1 - m), "A": 256 * n.sum(), "W": 256 * m.sum(), "W+A": 256 * (n @ m),
                "Ap.value": 16 * w.sum(), "Ap.g16": 16 * g.sum(), "Wp.value": 16 * v.sum(), "Wp.g16": 16 * h.sum(),
                "Ae": 16 * t.sum(), "We": 16 * u.sum(), "We+Ae": t @ u, "W+Ap": 16 * (g @ m), "W+Ae": 16 * (t @ m),
                "W+A+Ap": 16 * ((g * n) @ m), "W+A+Ae": 16 * (t @ (m * n)),
            }  # fmt: skip
            for name, value in add.items():
                sums[name] += int(value)
    return sums


def main():
    if sys.argv[1:] == ["--text"]:
        return print(TEXT)
    folder, dumped = sys.argv[1:]
    operands = load_file(dumped)
    checkpoint = load_file(f"{folder}/model.safetensors")
    weight = checkpoint[f"{LINEAR}.weight"]
    layers = {LINEAR: count(codes(operands[f"{LINEAR}.0"].T), codes(weight))}
    q, k, v = (codes(operands[f"{ATTENTION}.{i}"]) for i in range(3))
    p = codes(operands[f"{ATTENTION}.p"], probabilities=True)
    split = lambda x: x.reshape(HEADS, -1, x.shape[-1])  # [head, feature, step]
    add = lambda all, one: {name: all.get(name, 0) + value for name, value in one.items()}
    qk, pv = {}, {}
    for head in range(HEADS):
        qk = add(qk, count(split(q)[head].T, split(k)[head].T))
        # Every key is seen: an output is a query's probabilities times a feature's values, key by key.
        pv = add(pv, count(p[head], split(v)[head]))
    layers |= {f"{ATTENTION}.qk": qk, f"{ATTENTION}.pv": pv}
    print(json.dumps({"text": TEXT, "layers": layers}, indent=1))


main()
