"""The input that every engine builds for itself: a hash of each index, as floats in [-1, 1) or as numbers of words."""

import numpy as np

WORDS = 10_000


def inputs(shape):
    index = np.arange(np.prod(shape), dtype=np.uint64)
    hashed = (index * np.uint64(2654435761)) % np.uint64(1 << 32)
    if len(shape) == 2:
        return (hashed % np.uint64(WORDS)).astype(np.int64).reshape(shape)
    return (hashed.astype(np.float64) / (1 << 31) - 1.0).astype(np.float32).reshape(shape)
