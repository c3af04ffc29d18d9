"""Every export read back as its simulator reads it: python test_exports.py DEADWEIGHT TARGET

ZigZag's and SCALE-Sim's own parsers (zigzag-dse, scalesim) read theirs; those of the others, which no registry has, stand in
grammars.py. TARGET is the folder that Cargo builds in, where the Rust tests leave the measurement of a network of every kind of
layer.
"""

import csv
import json
import pathlib
import re
import subprocess
import sys
import tempfile
from fractions import Fraction

import grammars
import numpy
import yaml
from scalesim.scale_config import scale_config
from scalesim.topology_utils import topologies
from zigzag.parser.workload_factory import LayerNodeFactory
from zigzag.parser.workload_validator import WorkloadValidator

TARGETS = ["timeloop", "sparseloop", "cimloop", "scalesim", "stonne", "zigzag", "maestro"]


class Run:
    """A measurement, its document, and its exports."""

    def __init__(self, deadweight, counts, folder):
        self.deadweight, self.counts, self.folder = deadweight, counts, folder
        document = json.loads(self.call("report", counts, "--format", "json"))
        self.inputs = document["data"]["inputs"]
        self.layers = {layer["name"]: layer for layer in document["layers"]}

    def call(self, *words):
        done = subprocess.run([self.deadweight, *map(str, words)], capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stderr)
        self.said = done.stderr
        return done.stdout

    def export(self, target, *words):
        path = self.folder / f"{pathlib.Path(self.counts).stem}.{target}{len(words)}"
        if not path.exists():
            self.call("export", self.counts, "--to", target, "-o", path, *words)
        return path

    def named(self, also=""):
        """Names of layers by those that exports give them, which keep letters, digits and `also`."""
        names = {re.sub(f"[^A-Za-z0-9{also}]", "_", name): name for name in self.layers}
        assert len(names) == len(self.layers)
        return names

    def macs(self, name):
        return int(self.layers[name]["metrics"]["macs"]["value"]) // self.inputs

    def zeros(self, name, operand):
        zeros = self.layers[name][operand]["zeros"]
        return int(zeros["numerator"]), int(zeros["denominator"])


def density_of_inputs(run, problem):
    """Non-zeros over the data space of inputs; where it has not all of them, the share that it has of whole inputs."""
    name, instance, layer = problem["name"], problem["instance"], run.layers[problem["name"]]
    zeros, values = run.zeros(name, "activations")
    density = Fraction(values - zeros, run.inputs * problem["sizes"]["Inputs"])
    if layer["kind"] == "linear":
        return float(density)
    for letters, size, before in zip(["PRW", "QSH"], layer["shape"]["input"][1:], layer["shape"]["padding"][::2]):
        window, tap, of = letters
        span = (instance[window] - 1) * instance[f"{of}stride"] + (instance[tap] - 1) * instance[f"{of}dilation"] + 1
        density *= Fraction(sum(0 <= place - before < size for place in range(span)), size)
    return float(density)


def check_timeloop(run):
    for target in ["timeloop", "sparseloop"]:
        folder = run.export(target)
        problems = [grammars.problem(yaml.safe_load(path.read_text())) for path in sorted(folder.glob("*.yaml"))]
        assert len(problems) > 0
        for problem in problems:
            name, instance = problem["name"], problem["instance"]
            assert problem["macs"] == run.macs(name), name
            outputs = problem["sizes"]["Outputs"]
            assert outputs == instance["G"] * instance["M"] * instance["P"] * instance["Q"]
            zeros, weights = run.zeros(name, "weights")
            assert problem["sizes"]["Weights"] == weights, name
            if target == "sparseloop":
                for space, operand in [("Weights", "weights"), ("Inputs", "activations"), ("Outputs", "outputs")]:
                    if operand not in run.layers[name] or "zeros" not in run.layers[name][operand]:
                        assert space == "Outputs" and space not in problem["densities"]
                        continue
                    zeros, values = run.zeros(name, operand)
                    want = density_of_inputs(run, problem) if space == "Inputs" else (values - zeros) / values
                    assert problem["densities"][space]["density"] == want, (name, space)
    return {problem["name"] for problem in problems}


def check_cimloop(run):
    for path in run.export("cimloop").glob("*.yaml"):
        layer = grammars.cimloop(path.read_text())
        assert layer["macs"] == run.macs(layer["layer"])
        for name, operand in [("Inputs", "activations"), ("Weights", "weights")]:
            bins = layer["histograms"][name]
            zeros, values = run.zeros(layer["layer"], operand)
            assert bins[len(bins) // 2] == zeros / values, (layer["layer"], name)


def check_histograms(run, arrays):
    """CiMLoop's histograms of a run in fixed16 are those of its codes, each in the nearest bin, and zero alone in the middle."""
    named = {name: plain for plain, name in run.named("._-").items()}
    for path in run.export("cimloop").glob("*.yaml"):
        layer = grammars.cimloop(path.read_text())
        plain = named[layer["layer"]]
        parts = [numpy.load(part) for part in sorted(arrays.glob(f"act-{plain}-*.npy"))]
        operands = [("Inputs", numpy.concatenate(parts)), ("Weights", numpy.load(arrays / f"wgt-{plain}.npy"))]
        for name, codes in operands:
            assert codes.dtype == numpy.int16
            codes = codes.ravel().astype(numpy.float64)
            steps = numpy.rint(numpy.abs(codes) * 127 / 32767)
            steps[(steps == 0) & (codes != 0)] = 1
            places = (127 + numpy.sign(codes) * steps).astype(numpy.int64)
            bins = numpy.bincount(places, minlength=255) / codes.size
            assert layer["histograms"][name] == bins.tolist(), (layer["layer"], name)


def check_scalesim(run):
    folder = run.export("scalesim")
    # A name with DP in it is read as that of a depthwise convolution.
    named = {plain.replace("DP", "Dp"): name for plain, name in run.named().items()}
    for name, gemm in [("conv.csv", False), ("gemm.csv", True)]:
        topology = topologies()
        topology.load_arrays(str(folder / name), mnk_inputs=gemm)
        if topology.num_layers == 0:
            continue
        topology.topo_calc_hyperparams()
        rows = [row for row in csv.reader((folder / name).open())][1:]
        entries = iter(range(topology.num_layers))
        for row in rows:
            # A row of a depthwise convolution becomes a layer a channel.
            channels = int(row[5]) if "DP" in row[0] else 1
            places = [next(entries) for _ in range(channels)]
            name = named[row[0].strip().removeprefix("DP_")]
            assert sum(topology.layers_calculated_hyperparams[place][2] for place in places) == run.macs(name), row
            ratio = [int(part) for part in row[-2].split(":")]
            assert ratio in ([1, 1], [2, 4], [4, 8]), row
            assert all(list(topology.get_layer_sparsity_ratio(place)) == ratio for place in places), row
    # The section in a whole configuration.
    rest = "[general]\nrun_name = r\n[run_presets]\nInterfaceBandwidth = CALC\nUseRamulatorTrace = False\n"
    rest += "[architecture_presets]\nArrayHeight = 32\nArrayWidth = 32\nIfmapSramSzkB = 64\nFilterSramSzkB = 64\n"
    rest += "OfmapSramSzkB = 64\nIfmapOffset = 0\nFilterOffset = 1\nOfmapOffset = 2\nDataflow = ws\nReadRequestBuffer = 1\n"
    rest += "WriteRequestBuffer = 1\n[layout]\nIfmapCustomLayout = False\nFilterCustomLayout = False\n"
    for of in ["Ifmap", "Filter"]:
        rest += f"{of}SRAMBankBandwidth = 1\n{of}SRAMBankNum = 1\n{of}SRAMBankPort = 1\n"
    whole = folder / "whole.cfg"
    whole.write_text(rest + (folder / "sparsity.cfg").read_text())
    config = scale_config()
    config.read_conf_file(str(whole))
    ratios = {row[-2].strip() for name in ["conv.csv", "gemm.csv"] for row in list(csv.reader((folder / name).open()))[1:]}
    assert config.valid_conf_flag and config.sparsity_support == (ratios != {"1:1"})


def check_stonne(run):
    lines = grammars.script(run.export("stonne").read_text())
    named = run.named()
    for command, of in lines:
        macs = run.macs(named[of["-layer_name"]])
        if command == "-SparseGEMM":
            assert of["-M"] * of["-N"] * of["-K"] == macs, of
        else:
            out = [(of[side] - of[tap] + of["-strides"]) // of["-strides"] for side, tap in [("-X", "-R"), ("-Y", "-S")]]
            assert out[0] * out[1] * of["-K"] * of["-C"] // of["-G"] * of["-R"] * of["-S"] == macs, of
    assert len({of["-layer_name"] for _, of in lines}) == len(lines)


def check_zigzag(run):
    data = yaml.safe_load(run.export("zigzag").read_text())
    validator = WorkloadValidator(data)
    assert validator.validate()
    for layer in validator.normalized_data:
        made = LayerNodeFactory(layer, None).create_node_attr()
        sizes = {str(dim): size for dim, size in made.layer_dim_sizes.data.items()}
        assert numpy.prod(list(sizes.values())) == run.macs(layer["name"]), layer
        bits = {str(operand): size for operand, size in made.operand_precision.data.items()}
        for letter, operand in [("W", "weights"), ("I", "activations")]:
            assert bits[letter] == max(1, run.layers[layer["name"]][operand]["width.layer"]["value"]), layer
        assert bits["O"] >= bits["W"] + bits["I"] and bits["O_final"] > 0
        # An input holds what the windows read, less its padding.
        for relation, size in zip(made.dimension_relations, layer["pr_loop_sizes"] or []):
            outer, inner = sizes[str(relation.dim_2)], sizes[str(relation.dim_3)]
            read = (outer - 1) * relation.coef_2 + (inner - 1) * relation.coef_3 + 1
            pads = layer["padding"][layer["pr_loop_dims"].index(str(relation.dim_1).upper())]
            assert read <= size + sum(pads) < read + relation.coef_2, layer


def check_maestro(run):
    text = run.export("maestro").read_text()
    _, layers = grammars.maestro(text)
    assert grammars.maestro_script_adds_dataflows(text) == len(layers)
    named = run.named()
    for layer in layers:
        d, stride = layer["Dimensions"], layer["Stride"]
        if layer["Type"] == "TRCONV":
            rows, columns = d["Y"], d["X"]
        else:
            rows, columns = (d["Y"] - d["R"]) // stride["Y"] + 1, (d["X"] - d["S"]) // stride["X"] + 1
        count = d.get("G", 1) * d["K"] * d["C"] * d["R"] * d["S"] * rows * columns
        assert count == run.macs(named[layer["name"]]), layer


def terms(codes):
    """Signed powers of two in the magnitudes of `codes`: ones of x ^ 3x."""
    magnitudes = numpy.abs(codes.astype(numpy.int64))
    return int(numpy.bitwise_count(magnitudes ^ 3 * magnitudes).sum())


def check_npy(run, model, *inputs):
    folder = run.export("npy", *inputs, "--model", model)
    floats = run.export("npy", *inputs, "--model", model, "--dtype", "float32")
    named = run.named("._-")
    for path in folder.glob("wgt-*.npy"):
        name = path.name.removeprefix("wgt-").removesuffix(".npy")
        layer = run.layers[named[name]]
        parts = [numpy.load(part) for part in sorted(folder.glob(f"act-{name}-*.npy"))]
        for operand, codes in [("weights", numpy.load(path).ravel()), ("activations", numpy.concatenate(parts).ravel())]:
            assert codes.dtype in (numpy.int8, numpy.int16)
            zeros, values = run.zeros(named[name], operand)
            assert (int((codes == 0).sum()), codes.size) == (zeros, values), (name, operand)
            assert terms(codes) == int(layer[operand]["terms"]["numerator"]), (name, operand)
        assert (numpy.load(floats / path.name) == numpy.load(path)).all()
    for layer in grammars.dnnsim(floats):
        for key, codes in [("act", layer["activations"]), ("wgt", layer["weights"])]:
            magnitude, fraction = layer[key]
            assert fraction == 0 and numpy.abs(codes).max() <= 2 ** (magnitude - 1) - 1, (layer["name"], key)
    return folder


def check_page(folder, deadweight):
    """The page's Python, which makes NeuroSim's tables of arrays."""
    page = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "exports.md").read_text()
    (text,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(compile(text, "exports.md", "exec"), names)
    x = numpy.load(folder / "act-conv1-0.npy")
    w = numpy.load(folder / "wgt-conv1.npy")
    planes, matrix = names["planes"](x[0], w.shape[2:], 1, 1, 16), names["matrix"](w, 16)
    # What the bit planes and the weights multiply to is the convolution.
    bits = planes.reshape(planes.shape[0], -1, 16).astype(numpy.int64)
    values = bits @ numpy.array([-(2**15)] + [2**bit for bit in range(14, -1, -1)])
    products = values.T @ numpy.rint(matrix * 2**15).astype(numpy.int64)
    padded = numpy.pad(x[0].astype(numpy.int64), [(0, 0), (1, 1), (1, 1)])
    for row, column in [(0, 0), (3, 7), (31, 31)]:
        window = padded[:, row : row + 3, column : column + 3]
        want = (w.astype(numpy.int64) * window).sum(axis=(1, 2, 3))
        assert (products[row * 32 + column] == want).all(), (row, column)


def main():
    deadweight, target = (pathlib.Path(word).resolve() for word in sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        models = ["digits", "verses"]
        for model in models:
            subprocess.run([deadweight, "measure", model, "--limit", "8", "--statistics", "full", "--metrics", "nm,o.traffic", "-q",
                            "-o", folder / f"{model}.dwm"], check=True)
        runs = {name: Run(deadweight, folder / f"{name}.dwm", folder) for name in models}
        runs["all"] = Run(deadweight, target / "tmp" / "exports.dwm", folder)
        for run in runs.values():
            for check in [check_timeloop, check_cimloop, check_scalesim, check_stonne, check_zigzag, check_maestro]:
                check(run)
        arrays = check_npy(runs["digits"], "digits")
        check_npy(runs["verses"], "verses", "--limit", "8")
        check_histograms(runs["digits"], arrays)
        check_page(arrays, deadweight)
    print("every export is read")


main()
