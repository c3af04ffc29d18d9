"""report.py FIGURES.json OUT.md: the tables of benches/RESULTS.md from the figures that peers.py wrote."""

import json
import statistics
import sys
from pathlib import Path

PEERS = ["onnxruntime", "openvino", "torch", "candle", "tract", "rten"]
NAMES = {
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "torch": "PyTorch",
    "torch-compile": "PyTorch, compiled",
    "torch-hooks": "PyTorch with hooks",
}
# Of each network: plain over ONNX Runtime, over OpenVINO, full statistics over plain.
TARGETS = {
    "resnet18": (0.62, 0.66, 1.02),
    "resnet50": (0.82, 0.85, 1.02),
    "mobilenetv2": (0.90, 0.93, 1.15),
    "mobilenetv3": (0.90, 0.93, 1.15),
    "deeplab-mobilenetv2": (0.75, 0.70, 1.08),
    "deeplab-resnet50": (0.80, 0.80, 1.03),
    "dncnn": (0.36, 0.38, 1.05),
    "lstm650@1": (0.93, 0.90, 1.02),
    "lstm650@20": (0.97, 0.90, 1.02),
    "lstm1500@1": (0.80, 0.82, 1.02),
    "lstm1500@20": (0.97, 0.90, 1.02),
    "mobilenetv2-int8": (1.00, 1.05, 1.20),
}
OTHERS = 0.6


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
    missed = "" if median <= target else " ✗"
    return f"{median:.3f} ({low:.3f}–{high:.3f}){missed}"


def row(key, engines):
    job, threads = key.split()
    name, batch = job.split("@")
    target = TARGETS.get(job) or TARGETS[name]
    cells = [name, batch, threads, f"{engines['deadweight-off']['ms']:.2f}"]
    for peer, limit in zip(PEERS, [*target[:2], *[OTHERS] * 4]):
        cells.append(cell(ratio(engines, peer), limit))
    for level, limit in (("deadweight-values", target[2]), ("deadweight-full", target[2])):
        cells.append(cell(ratio(engines, "deadweight-off", level) if level in engines else None, limit))
    return "| " + " | ".join(cells) + " |"


def table(results):
    heads = ["network", "batch", "threads", "plain, ms", *(f"/ {NAMES.get(p, p)}" for p in PEERS), "values / plain", "full / plain"]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---|" * (len(heads) - 1)]
    return "\n".join(lines + [row(key, result["engines"]) for key, result in results.items()])


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
    apart = max(f["apart"] for key, r in results.items() if "int8" not in key for f in r["engines"].values())
    parts = [versions(results), f"Largest difference of outputs: {apart:.1e} of the largest output.", table(results)]
    Path(sys.argv[2]).write_text("\n\n".join(part for part in [*parts, hooks(results), failures(results)] if part) + "\n")
