"""Parsers of simulators that no registry has, in our own words: what each accepts, and what it makes of it.

Timeloop and Sparseloop: src/workload/shape-models/problem-shape.cpp, workload.cpp and density-models of NVlabs/timeloop, and the schema
in timeloopfe/v4/problem.py of Accelergy-Project/timeloop-python. CiMLoop: workloads/problem_base.yaml of mit-emze/cimloop.
STONNE: stonne/src/main.cpp of stonne-simulator/stonne. MAESTRO: DFSL_parser.hpp and DFSL_syntax_tokens.hpp of maestro-project/maestro.
DNNsim: base/src/NetReader.cpp and cnpy.cpp of isakedo/DNNsim.
"""

import math
import re
import shlex

import numpy
import yaml


def problem(document):
    """A problem of Timeloop v4: extents of its data spaces, multiply-accumulates, densities."""
    assert set(document) == {"problem"}, set(document)
    of = document["problem"]
    assert set(of) <= {"version", "shape", "instance", "name", "dnn_name", "notes", "histograms"}, set(of)
    assert str(of["version"]) == "0.4"
    shape, instance = of["shape"], dict(of["instance"])
    assert set(shape) <= {"name", "dimensions", "coefficients", "data_spaces"}, set(shape)
    dimensions = shape["dimensions"]
    assert all(isinstance(name, str) and len(name) == 1 for name in dimensions), dimensions
    coefficients = {}
    for coefficient in shape["coefficients"]:
        assert set(coefficient) == {"name", "default"}
        coefficients[coefficient["name"]] = coefficient["default"]
    densities = instance.pop("densities", {})
    assert all(isinstance(value, int) and value > 0 for value in instance.values()), instance
    # Every dimension must be there; of what is neither dimension nor coefficient nothing is made.
    assert set(dimensions) <= set(instance) <= set(dimensions) | set(coefficients), instance
    coefficients |= {name: instance[name] for name in coefficients if name in instance}
    sizes, written = {}, []
    for space in shape["data_spaces"]:
        assert set(space) <= {"name", "projection", "read_write"}
        sizes[space["name"]] = 1
        for expression in space["projection"]:
            last = 0
            for term in expression:
                assert len(term) in (1, 2) and term[0] in dimensions, term
                last += (instance[term[0]] - 1) * (coefficients[term[1]] if len(term) == 2 else 1)
            sizes[space["name"]] *= last + 1
        if space.get("read_write", False):
            written.append(space["name"])
    assert written == ["Outputs"]
    for space, density in densities.items():
        assert space in sizes and set(density) == {"distribution", "density"}, density
        assert density["distribution"] in ("fixed_structured", "hypergeometric"), density
        assert 0 <= density["density"] <= 1, density
    return {
        "name": shape.get("name", ""),
        "instance": instance,
        "sizes": sizes,
        "macs": math.prod(instance[name] for name in dimensions),
        "densities": densities,
    }


# Dimensions, coefficients and projections of CiMLoop's base; X, Y and Z are bits.
CIMLOOP = """
version: 0.4
instance: {N: 1, X: 1, C: 1, G: 1, Y: 1, R: 1, S: 1, Hdilation: 1, Hstride: 1, Wdilation: 1, Wstride: 1, Z: 1, M: 1, P: 1, Q: 1}
shape:
  dimensions: [C, M, R, S, N, P, Q, X, Y, Z, G]
  coefficients: [{name: Wstride, default: 1}, {name: Hstride, default: 1}, {name: Wdilation, default: 1}, {name: Hdilation, default: 1}]
  data_spaces:
  - {name: Weights, projection: [[[C]], [[M]], [[R]], [[S]], [[Y]], [[G]]]}
  - {name: Inputs, projection: [[[N]], [[C]], [[R, Wdilation], [P, Wstride]], [[S, Hdilation], [Q, Hstride]], [[X]], [[G]]]}
  - {name: Outputs, projection: [[[N]], [[M]], [[Q]], [[P]], [[Z]], [[G]]], read_write: true}
"""


def cimloop(text):
    """A layer of CiMLoop, over the base that its first line includes."""
    first, rest = text.split("\n", 1)
    assert first == "{{include_text('../problem_base.yaml')}}", first
    assert rest.count("  <<<: *problem_base\n") == 1
    own = yaml.safe_load(rest.replace("  <<<: *problem_base\n", ""))["problem"]
    base = yaml.safe_load(CIMLOOP)
    histograms = own.pop("histograms")
    assert set(own) == {"instance", "name", "dnn_name", "notes"}, set(own)
    assert set(own["instance"]) <= set(base["instance"]), own["instance"]
    base["instance"] |= own.pop("instance")
    for name, bins in histograms.items():
        assert name in ("Inputs", "Weights", "Outputs")
        # 2^N - 1 bins, which sum to 1.
        assert (len(bins) + 1).bit_count() == 1 and abs(sum(bins) - 1) < 1e-9 and min(bins) >= 0, name
    return problem({"problem": base}) | {"layer": own["notes"], "histograms": histograms}


STRINGS = {"-layer_name", "-dataflow", "-mem_ctrl", "-rn_type", "-generate_tile"}
STONNE = {
    "-SparseGEMM": {"-layer_name", "-M", "-N", "-K", "-MK_sparsity", "-KN_sparsity"},
    "-CONV": {"-layer_name", "-R", "-S", "-C", "-K", "-G", "-N", "-X", "-Y", "-strides", "-generate_tile"},
}


def stonne(arguments):
    """A command line of STONNE: its command and its parameters."""
    command, parameters = arguments[0], {}
    for argument in arguments[1:]:
        name, value = argument.split("=", 1)
        assert name in STONNE[command], argument
        parameters[name] = value if name in STRINGS else int(value)
    assert set(parameters) == STONNE[command], parameters
    if command == "-CONV":
        assert parameters["-generate_tile"] in ("none", "performance", "energy", "energy_efficiency")
        assert parameters["-C"] % parameters["-G"] == parameters["-K"] % parameters["-G"] == 0
    else:
        assert all(0 <= parameters[name] <= 100 for name in ("-MK_sparsity", "-KN_sparsity"))
    return command, parameters


def script(text):
    """The command lines of a script."""
    assert text.startswith("#!/bin/sh\n")
    lines = [line for line in text.splitlines() if line.startswith('"$STONNE"')]
    return [stonne([word for word in shlex.split(line)[1:] if not word.startswith("$")]) for line in lines]


MAESTRO = {"CONV", "DSCONV", "TRCONV", "NGCONV", "GEMM"}


def maestro(text):
    """A network of MAESTRO: its name, and type, stride and dimensions of each layer."""
    tokens = []
    for line in text.splitlines():
        for token in re.split(r"[ ,\->():\t;]+", line):
            if token.startswith("//"):
                break
            if token:
                tokens.append(token)
    take = iter(tokens).__next__

    def pairs():
        assert take() == "{"
        found = {}
        while (name := take()) != "}":
            found[name] = int(take())
            # What is 0, or no number, is an error there.
            assert found[name] > 0, name
        return found

    assert take() == "Network"
    network, layers = take(), []
    assert take() == "{"
    while (token := take()) != "}":
        assert token == "Layer", token
        layer = {"name": take(), "Stride": {}}
        assert take() == "{"
        while (token := take()) != "}":
            if token == "Type":
                layer["Type"] = take()
                assert layer["Type"] in MAESTRO, layer
            else:
                # A stride must stand before the dimensions.
                assert token == "Dimensions" or token == "Stride" and "Dimensions" not in layer, token
                layer[token] = pairs()
        layers.append(layer)
    return network, layers


def maestro_script_adds_dataflows(text):
    """Whether MAESTRO's own script finds a place for a dataflow in each layer: lines that begin with Dimensions."""
    return len([line for line in text.splitlines() if re.match("Dimensions", line)])


def dnnsim(folder):
    """What DNNsim reads of a folder: layers, with their arrays of batch 0 and precisions."""
    layers = []
    for line in (folder / "model.csv").read_text().splitlines():
        name, kind, stride, padding = line.split(",")
        assert kind in ("conv", "fc") and "/" not in name, line
        layers.append({"name": name, "kind": kind, "stride": int(stride), "padding": int(padding)})
    lines = (folder / "precision.txt").read_text().splitlines()[1:]
    rows = [[int(word) for word in line.split(";") if word] for line in lines]
    assert len(rows) == 4 and all(len(row) == len(layers) for row in rows), rows
    for index, layer in enumerate(layers):
        layer["act"] = (rows[0][index], rows[1][index])
        layer["wgt"] = (rows[2][index], rows[3][index])
        for key, name in [("weights", f"wgt-{layer['name']}"), ("activations", f"act-{layer['name']}-0")]:
            path = folder / f"{name}.npy"
            # Its reader takes the header's line, of 255 bytes at most, behind 11 bytes.
            assert path.read_bytes()[11:].index(b"\n") < 255, path
            layer[key] = numpy.load(path)
            assert layer[key].dtype == numpy.float32 and layer[key].ndim == (2 if layer["kind"] == "fc" else 4)
    return layers
