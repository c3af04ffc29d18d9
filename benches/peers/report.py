"""report.py FIGURES.json OUT.md [RESULTS.md]: the tables of benches/RESULTS.md from the figures that peers.py wrote.

That of transformers also replaces the one in RESULTS.md, where that is given.
"""

import json
import re
import statistics
import sys
from pathlib import Path

from texts import STEPS, TOKENS, is_text

PEERS = ["onnxruntime", "openvino", "torch", "candle", "tract", "rten"]
NAMES = {
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "torch": "PyTorch",
    "torch-compile": "PyTorch, compiled",
    "torch-hooks": "PyTorch with hooks",
}
LEVELS = ("deadweight-terms", "deadweight-full")
# Of each network: plain over ONNX Runtime and over OpenVINO; a measured run over a plain one, of each level.
TARGETS = {
    "resnet18": (0.62, 0.66, 1.06, 1.12),
    "resnet50": (0.80, 0.83, 1.06, 1.12),
    "mobilenetv2": (0.85, 0.90, 1.40, 1.75),
    "mobilenetv3": (0.85, 0.90, 1.40, 1.75),
    "deeplab-mobilenetv2": (0.78, 0.72, 1.15, 1.25),
    "deeplab-resnet50": (0.80, 0.80, 1.06, 1.12),
    "dncnn": (0.38, 0.39, 1.07, 1.12),
    "lstm650@1": (0.93, 0.90, 1.05, 1.10),
    "lstm650@20": (0.97, 0.90, 1.05, 1.10),
    "lstm1500@1": (0.80, 0.82, 1.05, 1.10),
    "lstm1500@20": (0.97, 0.90, 1.05, 1.10),
    "mobilenetv2-int8": (0.45, 1.00, 1.60, 2.10),
    "minilm": (0.80, 0.97, 1.12, 1.20),
    "smollm2-prefill": (None, None, 1.10, 1.20),
    "smollm2-decode": (None, None, 1.05, 1.10),
}
OTHERS = 0.6
# Of transformers: plain over other peers.
TEXT_TARGETS = {
    ("smollm2-prefill", "llama-f32"): 0.9,
    ("smollm2-prefill", "candle-llama-f32"): 0.6,
    ("smollm2-decode", "llama"): 1.0,
}
TEXT_PEERS = {
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "candle-bert": "candle",
    "llama-f32": "llama.cpp, f32",
    "candle-llama-f32": "candle, f32",
    "llama": "llama.cpp, Q4_1",
    "candle-llama": "candle, Q4_1",
}


def ratio(engines, over, of="deadweight-off"):
    """Median over the rounds of one engine's time over another's, and its quartiles."""
    if over not in engines:
        return None
    pairs = zip(engines[of]["rounds"], engines[over]["rounds"])
    ratios = [ours / theirs for ours, theirs in pairs]
    return statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3


def cell(quartiles, target):
    if quartiles is None:
        return "–"
    low, median, high = quartiles
    missed = " ✗" if target and median > target else ""
    return f"{median:.3f} ({low:.3f}–{high:.3f}){missed}"


def row(key, engines):
    job, threads = key.split()
    name, batch = job.split("@")
    target = TARGETS.get(job) or TARGETS[name]
    cells = [name, batch, threads, f"{engines['deadweight-off']['ms']:.2f}"]
    for peer, limit in zip(PEERS, [*target[:2], *[OTHERS] * 4]):
        cells.append(cell(ratio(engines, peer), limit))
    cells += of_levels(engines, target)
    return "| " + " | ".join(cells) + " |"


def of_levels(engines, target):
    """Measured runs over plain ones, and over ONNX Runtime's plain one that of all potentials, which should be no slower."""
    cells = [cell(ratio(engines, "deadweight-off", of) if of in engines else None, most) for of, most in zip(LEVELS, target[2:])]
    return [*cells, cell(ratio(engines, "onnxruntime", LEVELS[0]) if LEVELS[0] in engines else None, 1.0)]


LEVEL_HEADS = ["terms / plain", "full / plain", "terms / ONNX Runtime, plain"]


def table(results):
    heads = ["network", "batch", "threads", "plain, ms", *(f"/ {NAMES.get(p, p)}" for p in PEERS), *LEVEL_HEADS]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---|" * (len(heads) - 1)]
    return "\n".join(lines + [row(key, result["engines"]) for key, result in results.items()])


def text_row(key, engines):
    job, threads = key.split()
    name, batch = job.split("@")
    plain, decodes = engines["deadweight-off"]["ms"], name.endswith("-decode")
    tokens = 1000 / plain * (1 if decodes else int(batch) * TOKENS)
    cells = [name, batch, threads, f"{plain:.2f}", f"{tokens:.0f}"]
    limits = {**dict(zip(PEERS, TARGETS[name])), **{peer: most for (of, peer), most in TEXT_TARGETS.items() if of == name}}
    cells += [cell(ratio(engines, peer), limits.get(peer)) for peer in TEXT_PEERS]
    cells += of_levels(engines, TARGETS[name])
    return "| " + " | ".join(cells) + " |"


def text_table(results):
    """Transformers, with how far the outputs of engines lie apart."""
    heads = ["network", "batch", "threads", "plain, ms", "tokens/s", *(f"/ {name}" for name in TEXT_PEERS.values())]
    heads += LEVEL_HEADS
    rows = [text_row(key, result["engines"]) for key, result in results.items()]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---|" * (len(heads) - 1), *rows]
    lines += ["", f"Times of `smollm2-decode` are of one token, the mean of {STEPS} after {TOKENS}. How far outputs are, in shares of the largest, and how often the most likely token is the same:", ""]
    for job in dict.fromkeys(key.split()[0] for key in results):
        of = next(result["engines"] for key, result in results.items() if key.split()[0] == job)
        same = lambda found: f", {found['same']:.0%} of tokens" if found.get("same") is not None else ""
        lines.append(f"- {job}: " + "; ".join(f"{name} {found['apart']:.1e}{same(found)}" for name, found in of.items()))
    return "\n".join([*lines, "", f"Versions: {versions(results)}."])


def replaced(text, table):
    """RESULTS.md `text` with `table` as its table of transformers."""
    new, count = re.subn(r"(<!-- transformers -->\n).*?(<!-- end -->)", lambda found: f"{found[1]}{table}\n{found[2]}", text, flags=re.S)
    if count != 1:
        sys.exit("RESULTS.md has no place for the table of transformers")
    return new


def versions(results):
    found = {e: f["version"] for result in results.values() for e, f in result["engines"].items()}
    return ", ".join(sorted(set(found.values())))


def hooks(results):
    lines = []
    for key, result in results.items():
        engines = result["engines"]
        if "torch-hooks" in engines:
            over = cell(ratio(engines, "torch-hooks", "deadweight-full"), 0.08 if "mobilenet" in key else 0.25)
            cost = ratio(engines, "torch", "torch-hooks")
            compiled = ratio(engines, "torch-compile")
            cells = [*key.split(), over, f"{cost[1]:.2f}", f"{compiled[1]:.3f}" if compiled else "–"]
            lines.append(f"| {' | '.join(cells)} |")
    heads = ["network@batch", "threads", "full statistics / PyTorch with hooks", "hooks / plain PyTorch", "plain / compiled"]
    head = f"| {' | '.join(heads)} PyTorch |\n|{'---|' * len(heads)}\n"
    return head + "\n".join(lines) if lines else ""


def failures(results):
    lines = [f"- {key}: {name}: {why}" for key, result in results.items() for name, why in result["failed"].items()]
    return "\n".join(sorted(set(lines)))


if __name__ == "__main__":
    results = json.loads(Path(sys.argv[1]).read_text())
    texts = {key: result for key, result in results.items() if is_text(key)}
    if texts:
        Path(sys.argv[2]).write_text("\n\n".join(part for part in (text_table(texts), failures(texts)) if part) + "\n")
        if len(sys.argv) > 3:
            file = Path(sys.argv[3])
            file.write_text(replaced(file.read_text(), text_table(texts)))
        sys.exit()
    apart = max(f["apart"] for key, r in results.items() if "int8" not in key for f in r["engines"].values())
    parts = [versions(results), f"Largest difference of outputs: {apart:.1e} of the largest output.", table(results)]
    Path(sys.argv[2]).write_text("\n\n".join(part for part in [*parts, hooks(results), failures(results)] if part) + "\n")
