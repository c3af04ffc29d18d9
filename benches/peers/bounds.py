"""bounds.py DIR OUT.md: of each network that export.py wrote to DIR the two slowest layers and what bounds them, and how much
of a whole run the multiplications that are left would take at the peak.

`deadweight bench` times every layer on one thread beside the multiply-adds that a loop on registers reaches. A product that
runs each weight once (linear layers of one input, recurrences) is held against reading memory in place of that.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from networks import NETWORKS

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "../../target/release/deadweight"
# Multiplications left of those that the definition counts.
LEFT = {"winograd4": 36 / 144, "winograd3": 25 / 81, "winograd2": 16 / 36, "karatsuba": 9 / 36}
JOBS = [f"{name}@{batch}" for name in NETWORKS for batch in ((1, 20) if "lstm" in name else (1,))]


def read_speed(size):
    """GB/s that one thread reads of an array of so many bytes."""
    values = np.ones(size // 4, np.float32)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        np.dot(values, values)
        times.append(time.perf_counter() - start)
    return size / min(times) / 1e9


def bench(folder, job, card):
    batch = job.split("@")[1]
    if card is None:
        model = [folder / f"{job}.onnx"]
    else:
        model = [folder / f"{job}.safetensors", "--arch", HERE / card if card.endswith(".toml") else card]
    options = ["--threads", "1", "--batch-size", batch, "--rounds", "7", "--quiet", "--format", "json"]
    answer = subprocess.run([PROGRAM, "bench", *model, *options], check=True, capture_output=True)
    return json.loads(answer.stdout)


def of_bytes(job):
    """Products of bytes to each lane of a multiply-add."""
    return 4 if "int8" in job else 1


def whole(job, told):
    left = sum((layer["macs"] or 0) * LEFT.get(layer["kernel"], 1) for layer in told["layers"])
    ideal, real = left / told["peak_macs_per_s"] / of_bytes(job), told["plain_s"][1]
    other = sum(layer["plain_s"] for layer in told["layers"] if not layer["macs"]) / real
    return f"| {job} | {real * 1e3:.2f} | {ideal * 1e3:.2f} | {ideal / real:.2f} | {other:.0%} |"


def rows(job, told, cached, memory):
    peak, all_layers = told["peak_macs_per_s"], sum(layer["plain_s"] for layer in told["layers"])
    for layer in sorted(told["layers"], key=lambda layer: -layer["plain_s"])[:2]:
        seconds = layer["plain_s"]
        done = layer["macs"] * LEFT.get(layer["kernel"], 1) / seconds / peak
        read = 4 * layer["macs"] / seconds / 1e9
        once = layer["kernel"] in ("linear", "lstm") and job.endswith("@1")
        bound = f"{read:.0f} GB/s of weights (cache {cached:.0f}, memory {memory:.0f})" if once else f"{done:.2f} of the peak"
        if "int8" in job:
            bound = f"{done / of_bytes(job):.2f} of the peak of bytes"
        cells = [job, layer["name"], layer["kernel"], f"{seconds * 1e3:.3f}", f"{seconds / all_layers:.0%}"]
        yield "| " + " | ".join([*cells, f"{layer['macs'] / seconds / 1e9:.1f}", bound]) + " |"


def main(folder, out):
    cached, memory = read_speed(8 << 20), read_speed(256 << 20)
    lines = ["| network | layer | kernel | ms | share of the run | GMAC/s | at |", "|---|---|---|---|---|---|---|"]
    wholes = ["| network | ms | at the peak, ms | share | layers without MACs |", "|---|---|---|---|---|"]
    for job in JOBS:
        told = bench(folder, job, NETWORKS[job.split("@")[0]][2])
        lines += rows(job, told, cached, memory)
        wholes.append(whole(job, told))
        print(lines[-2], lines[-1], wholes[-1], sep="\n", flush=True)
    out.write_text("\n".join([*lines, "", *wholes]) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
