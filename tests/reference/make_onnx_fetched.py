"""Makes onnx_fetched.json: of the real files that shared/fetch.sh gets, what ONNX Runtime answers to one input, the
multiply-accumulates by ONNX's shape inference, and the five classes of two layers each, and of the products of two activations,
counted one by one.

Run as make_onnx_fetched.py FOLDER, after make_onnx_any.py, whose counting it uses.
"""
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

sys.argv, folder = sys.argv[:1], Path(sys.argv[1])
from make_onnx_any import Counter, attribute, coded, count_pair, pattern, two, windows  # noqa: E402

FILES = {
    "ppocr_det": ([1, 3, 64, 96], None),
    "ppocr_rec": ([1, 3, 48, 96], None),
    "ppocr_cls": ([1, 3, 48, 96], None),
    "ddddocr_common": ([1, 1, 64, 96], None),
    "ddddocr_det": ([1, 3, 416, 416], None),
}


def strokes(shape):
    """A line of dark strokes, which a detector of text finds."""
    row, column = np.mgrid[: shape[2], : shape[3]]
    dark = (column % 6 < 3) | np.isin(row, (26, 31, 37))
    dark &= (row >= 24) & (row < 40) & (column >= 10) & (column < 86)
    return np.broadcast_to(np.where(dark, -2.0, 2.25), shape).astype(np.float32)


def ort(model, feed, names):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(names, feed)


def macs(model, shapes, constants):
    total = {}
    for node in model.graph.node:
        op, i = node.op_type, node.input
        size = lambda n: shapes[n] if n in shapes else list(constants[n].shape)
        if op == "Conv":
            total[node.output[0]] = int(np.prod(size(node.output[0])) * np.prod(size(i[1])[1:]))
        elif op == "ConvTranspose":
            total[node.output[0]] = int(np.prod(size(i[0])) * np.prod(size(i[1])[1:]))
        elif op in ("MatMul", "Gemm"):
            inner = size(i[0])[-1] if not attribute(node, "transA", 0) else size(i[0])[0]
            total[node.output[0]] = int(np.prod(size(node.output[0])) * inner)
        elif op == "LSTM":
            steps, batch = size(i[0])[:2]
            total[node.output[0]] = int(steps * batch * (np.prod(size(i[1])) + np.prod(size(i[2]))))
    return total


want = {}
for name, (shape, _) in FILES.items():
    model = onnx.load(folder / f"{name}.onnx")
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and attribute(node, "value") is not None:
            constants[node.output[0]] = numpy_helper.to_array(attribute(node, "value"))
    given = next(i for i in model.graph.input if i.name not in constants)
    for dim, extent in zip(given.type.tensor_type.shape.dim, shape):
        dim.ClearField("dim_param")
        dim.dim_value = extent
    x = strokes(shape) if name == "ppocr_det" else pattern(int(np.prod(shape)), 0).reshape(shape)
    [output] = ort(model, {given.name: x}, [model.graph.output[0].name])
    del model.graph.value_info[:]
    for o in model.graph.output:
        o.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shapes = {}
    for value in list(inferred.graph.value_info) + list(inferred.graph.input) + list(inferred.graph.output):
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        if value.type.tensor_type.HasField("shape") and all(d > 0 for d in dims):
            shapes[value.name] = dims
    # Extents that inference leaves open: of what the operators that multiply read and make, from a run.
    wanted = {n for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm", "LSTM") for n in [*node.input, node.output[0]] if n}
    missing = sorted(n for n in wanted if n not in shapes and n not in constants)
    if missing:
        more = onnx.ModelProto()
        more.CopyFrom(model)
        more.graph.output.extend(onnx.ValueInfoProto(name=n) for n in missing)
        infos = {v.name: v for v in inferred.graph.value_info}
        for o in more.graph.output:
            if o.name in infos:
                o.CopyFrom(infos[o.name])
                o.type.tensor_type.ClearField("shape")
        for n, value in zip(missing, ort(more, {given.name: x}, missing)):
            shapes[n] = list(value.shape)
    all_macs = macs(model, shapes, constants)
    # Two convolutions with constant filters: the first, and one in the middle.
    convs = [n for n in model.graph.node if n.op_type == "Conv" and n.input[1] in constants]
    # Norms are folded by the program and not here: a convolution before none.
    norms = {n.input[0] for n in model.graph.node if n.op_type == "BatchNormalization"}
    convs = [n for n in convs if n.output[0] not in norms]
    chosen = [convs[0], convs[len(convs) // 2]]
    more = onnx.ModelProto()
    more.CopyFrom(model)
    pairs = [n for n in model.graph.node if n.op_type == "MatMul" and not any(i in constants for i in n.input)]
    operands = list(dict.fromkeys([n.input[0] for n in chosen] + [i for n in pairs for i in n.input]))
    for n in operands:
        if n != given.name:
            more.graph.output.append(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None))
    values = dict(zip([n for n in operands if n != given.name], ort(more, {given.name: x}, [n for n in operands if n != given.name]))) | {given.name: x}
    counter = Counter()
    for node in chosen:
        [a] = coded([values[node.input[0]]], False)
        [w] = coded([constants[node.input[1]]], False)
        groups = attribute(node, "group", 1)
        pads = list(attribute(node, "pads", [0, 0, 0, 0]))
        stride, dilation = (two(attribute(node, k, [1, 1])) for k in ("strides", "dilations"))
        per = len(w) // groups
        for g in range(groups):
            part, inside = windows(a[0], two(w.shape[2:]), stride, dilation, pads, g, groups)
            counter.add(node.name or node.output[0], part, inside, w[g * per:(g + 1) * per].reshape(per, -1))
    for node in pairs:
        a, b = (coded([values[i]], False)[0] for i in node.input)
        count_pair(counter, node, node.name or node.output[0], a, b)
    flat = output.reshape(-1)
    step = max(1, len(flat) // 200)
    rows = output.reshape(-1, output.shape[-1])
    want[name] = {
        "shape": shape,
        "output": list(output.shape),
        "step": step,
        "values": [float(v) for v in flat[::step]],
        "largest": float(np.abs(flat).max()),
        "top": [int(v) for v in rows.argmax(-1)[:50]],
        "macs": sum(all_macs.values()),
        "classes": counter.rows,
    }
    print(name, want[name]["macs"], len(missing), "extents from the run", counter.rows)
want["versions"] = {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
Path(__file__).with_name("onnx_fetched.json").write_text(json.dumps(want, separators=(",", ":")).replace('},"', '},\n"') + "\n")
