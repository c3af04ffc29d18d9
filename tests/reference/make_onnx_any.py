"""Makes the ONNX files of onnx_any/ and onnx_any.json: small graphs of every operator that the onnx engine measures, what ONNX
Runtime answers to them, and the five classes of their multiply-accumulates, counted one by one from METRICS alone.

Run with onnx, onnxruntime and numpy; versions are stored in onnx_any.json.
"""
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

here = Path(__file__).parent
rng = np.random.default_rng(22)
cases, want = {}, {}


def pattern(count, n):
    """Sample n: sixteenths from -1/2 to 1/2, zeros among them. tests/onnx_any has the same."""
    i = np.arange(count, dtype=np.uint64)
    v = ((i * 2654435761 + n * 40503) % 2**32 >> 13) % 17
    return ((v.astype(np.int64) - 8) / 16).astype(np.float32)


def weights(*shape, zeros=0.2):
    w = rng.normal(0, 0.5, shape).astype(np.float32)
    w[rng.random(shape) < zeros] = 0
    return w


def case(name, nodes, constants, inputs, outputs=("y",), opset=17, domains=()):
    given = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    ins = [helper.make_tensor_value_info(k, t, s) for k, (t, s) in inputs.items()]
    outs = [helper.make_tensor_value_info(k, TensorProto.FLOAT, None) for k in outputs]
    graph = helper.make_graph(nodes, name, ins, outs, given)
    sets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in domains]
    model = helper.make_model(graph, opset_imports=sets, ir_version=8)
    onnx.save(model, here / "onnx_any" / f"{name}.onnx")
    cases[name] = model


def float_input(*shape):
    return {"x": (TensorProto.FLOAT, list(shape))}


N = helper.make_node
case("conv", [N("Conv", ["x", "w", "b"], ["a"], name="first", kernel_shape=[3, 2], pads=[1, 0, 2, 1], strides=[2, 1], dilations=[1, 2]),
              N("Relu", ["a"], ["r"]), N("Conv", ["r", "v"], ["y"], name="grouped", group=2)],
     {"w": weights(6, 3, 3, 2), "b": weights(6), "v": weights(4, 3, 1, 1)}, float_input(1, 3, 9, 11))
case("same", [N("Conv", ["x", "w"], ["a"], name="upper", auto_pad="SAME_UPPER", strides=[2, 2], kernel_shape=[4, 3]),
              N("Conv", ["a", "v"], ["y"], name="lower", auto_pad="SAME_LOWER", kernel_shape=[2, 4])],
     {"w": weights(5, 2, 4, 3), "v": weights(3, 5, 2, 4)}, float_input(1, 2, 9, 8))
case("conv1d", [N("Conv", ["x", "w"], ["y"], name="sequence", kernel_shape=[3], pads=[2, 0], dilations=[2], strides=[2])],
     {"w": weights(5, 4, 3)}, float_input(1, 4, 17))
case("transposed", [N("ConvTranspose", ["x", "w", "b"], ["a"], name="up", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 0]),
                    N("ConvTranspose", ["a", "v"], ["y"], name="grouped", group=2, strides=[1, 3])],
     {"w": weights(4, 6, 3, 3), "b": weights(6), "v": weights(6, 2, 2, 2)}, float_input(1, 4, 5, 4))
case("transposed1d", [N("ConvTranspose", ["x", "w"], ["y"], name="up", strides=[3], kernel_shape=[4], pads=[1, 0])],
     {"w": weights(4, 5, 4)}, float_input(1, 4, 7))
case("norm", [N("Conv", ["x", "w"], ["a"], name="conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
              N("BatchNormalization", ["a", "g", "h", "m", "s"], ["y"], epsilon=1e-3)],
     {"w": weights(4, 3, 3, 3), "g": weights(4, zeros=0) + 1, "h": weights(4), "m": weights(4), "s": np.abs(weights(4, zeros=0)) + 0.5},
     float_input(1, 3, 6, 5))
case("gemm", [N("Gemm", ["x", "w", "c"], ["a"], name="both", transA=1, transB=1, alpha=0.5, beta=2.0), N("Relu", ["a"], ["r"]),
              N("Gemm", ["r", "v"], ["y"], name="plain")],
     {"w": weights(7, 5), "c": weights(7), "v": weights(7, 3)}, float_input(5, 4))
case("matmul", [N("MatMul", ["x", "w"], ["a"], name="right"), N("MatMul", ["v", "a"], ["b"], name="left"),
                N("MatMul", ["b", "u"], ["c"], name="each"), N("Einsum", ["c", "e"], ["y"], name="sum", equation="bij,kj->bik")],
     {"w": weights(20, 6), "v": weights(4, 5), "u": weights(2, 6, 3), "e": weights(3, 3)}, float_input(2, 5, 20), opset=13)
case("vector", [N("MatMul", ["x", "w"], ["y"], name="vector")], {"w": weights(6)}, float_input(3, 6))
case("folded", [N("Reshape", ["x", "s"], ["a"]), N("Conv", ["a", "w"], ["y"], name="points", kernel_shape=[1, 1])],
     {"s": np.int64([4, 3, 2, 5]), "w": weights(6, 3, 1, 1)}, float_input(1, 4, 3, 10))
T, I, H = 6, 5, 4
for direction, d in [("forward", 1), ("reverse", 1), ("bidirectional", 2)]:
    case(f"lstm_{direction}", [N("LSTM", ["x", "w", "r", "b", "", "h", "c"], ["y", "yh"], name="rnn", hidden_size=H, direction=direction)],
         {"w": weights(d, 4 * H, I), "r": weights(d, 4 * H, H), "b": weights(d, 8 * H), "h": weights(d, 1, H), "c": weights(d, 1, H)},
         float_input(T, 1, I), outputs=("y", "yh"))
    for before in (0, 1):
        case(f"gru{before}_{direction}", [N("GRU", ["x", "w", "r", "b"], ["y"], name="rnn", hidden_size=H, direction=direction, linear_before_reset=before)],
             {"w": weights(d, 3 * H, I), "r": weights(d, 3 * H, H), "b": weights(d, 6 * H)}, float_input(T, 1, I))
    case(f"rnn_{direction}", [N("RNN", ["x", "w", "r", "b", "", "h"], ["", "y"], name="rnn", hidden_size=H, direction=direction,
                                activations=["Tanh", "Relu"][:d])],
         {"w": weights(d, H, I), "r": weights(d, H, H), "b": weights(d, 2 * H), "h": weights(d, 2, H)}, float_input(T, 2, I))


def codes(*shape, signed=True):
    return rng.integers(-127 if signed else 0, 128 if signed else 256, shape).astype(np.int8 if signed else np.uint8)


case("dynamic", [N("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), N("ConvInteger", ["q", "w", "z", "wz"], ["a"], name="conv", kernel_shape=[3, 3]),
                 N("Cast", ["a"], ["f"], to=1), N("Mul", ["f", "s"], ["y"])],
     {"w": codes(4, 3, 3, 3, signed=False), "wz": np.uint8(120)}, float_input(1, 3, 6, 5))
case("matmul_integer", [N("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), N("MatMulInteger", ["q", "w", "z"], ["a"], name="product"),
                        N("Cast", ["a"], ["f"], to=1), N("Mul", ["f", "s"], ["y"])],
     {"w": codes(6, 4)}, float_input(3, 6))
case("qlinear", [N("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
                 N("QLinearConv", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["c"], name="conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
                 N("Reshape", ["c", "shape"], ["flat"]),
                 N("QLinearMatMul", ["flat", "ys", "yz", "v", "vs", "vz", "zs", "zz"], ["d"], name="product"),
                 N("DequantizeLinear", ["d", "zs", "zz"], ["y"])],
     {"xs": np.float32(1 / 16), "xz": np.uint8(130), "w": codes(4, 3, 3, 3), "ws": np.float32([0.01, 0.02, 0.005, 0.03]), "wz": np.int8([0] * 4),
      "ys": np.float32(0.05), "yz": np.uint8(0), "b": np.int32([3, -200, 17, 0]), "shape": np.int64([4, 30]), "v": codes(30, 5), "vs": np.float32(0.02),
      "vz": np.int8(0), "zs": np.float32(0.1), "zz": np.uint8(128)}, float_input(1, 3, 6, 5))
case("qdq", [N("QuantizeLinear", ["x", "xs", "xz"], ["q"]), N("DequantizeLinear", ["q", "xs", "xz"], ["f"]),
             N("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0), N("Conv", ["f", "wf"], ["c"], name="conv", kernel_shape=[3, 3]),
             N("QuantizeLinear", ["c", "ys", "yz"], ["p"]), N("DequantizeLinear", ["p", "ys", "yz"], ["g"]),
             N("Flatten", ["g"], ["flat"]), N("DequantizeLinear", ["v", "vs", "vz"], ["vf"]), N("Gemm", ["flat", "vf"], ["y"], name="fc", transB=1)],
     {"xs": np.float32(1 / 16), "xz": np.int8(3), "w": codes(4, 3, 3, 3), "ws": np.float32([0.01, 0.02, 0.005, 0.03]), "wz": np.int8([0] * 4),
      "ys": np.float32(0.05), "yz": np.uint8(0), "v": codes(5, 48), "vs": np.float32(0.02), "vz": np.int8(0)}, float_input(1, 3, 6, 5))
case("qoperators", [N("QuantizeLinear", ["x", "s", "z"], ["q"])] +
     [N("QLinearSigmoid", ["q", "s", "z", "ys", "yz"], ["a"], domain="com.microsoft"),
      N("QLinearLeakyRelu", ["q", "s", "z", "s", "z"], ["b"], domain="com.microsoft", alpha=0.1),
      N("QLinearAdd", ["a", "ys", "yz", "b", "s", "z", "s", "z"], ["c"], domain="com.microsoft"),
      N("QLinearMul", ["c", "s", "z", "a", "ys", "yz", "s", "z"], ["d"], domain="com.microsoft"),
      N("QLinearConcat", ["s", "z", "c", "s", "z", "d", "s", "z"], ["e"], domain="com.microsoft", axis=1),
      N("QLinearGlobalAveragePool", ["e", "s", "z", "s", "z"], ["p"], domain="com.microsoft", channels_last=0),
      N("Flatten", ["p"], ["flat"]),
      N("QGemm", ["flat", "s", "z", "w", "ws", "wz", "bias", "s", "z"], ["g"], domain="com.microsoft", name="fc", transB=1),
      N("DequantizeLinear", ["g", "s", "z"], ["y"])],
     {"s": np.float32(0.01), "z": np.uint8(128), "ys": np.float32(1 / 256), "yz": np.uint8(0), "w": codes(5, 6), "ws": np.float32(0.02),
      "wz": np.int8(0), "bias": np.int32([1, 2, 3, 4, 5])}, float_input(1, 3, 4, 5), domains=("com.microsoft",))
case("softmax11", [N("Softmax", ["x"], ["a"], axis=1), N("LogSoftmax", ["a"], ["b"], axis=2), N("Dropout", ["b"], ["y"])], {}, float_input(2, 3, 4), opset=11)
case("pointwise", [N("Mish", ["x"], ["a"]), N("Selu", ["a"], ["b"]), N("Celu", ["b"], ["c"], alpha=0.7), N("ThresholdedRelu", ["c"], ["d"], alpha=0.1),
                   N("LRN", ["d"], ["y"], size=3, alpha=0.5, beta=0.6, bias=1.5)], {}, float_input(1, 7, 3, 2), opset=18)
then = helper.make_graph([N("MatMul", ["x", "w"], ["t"], name="hidden")], "then", [], [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)])
other = helper.make_graph([N("Identity", ["x"], ["e"])], "else", [], [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)])
case("branches", [N("ReduceSum", ["x"], ["s"], keepdims=0), N("Greater", ["s", "limit"], ["c"]), N("If", ["c"], ["i"], name="choice", then_branch=then, else_branch=other),
                  N("MatMul", ["i", "w"], ["y"], name="after")], {"w": weights(6, 6), "limit": np.float32(-100)}, float_input(3, 6))
case("attention", [N("MatMul", ["x", "wq"], ["q"], name="q"), N("MatMul", ["x", "wk"], ["k"], name="k"), N("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
                   N("MatMul", ["q", "kt"], ["s"], name="qk"), N("Softmax", ["s"], ["p"], axis=-1), N("MatMul", ["p", "x"], ["y"], name="pv")],
     {"wq": weights(6, 5), "wk": weights(6, 5)}, float_input(1, 7, 6))
case("several", [N("Gather", ["table", "ids"], ["e"]), N("MatMul", ["e", "w"], ["a"], name="fc"), N("Where", ["mask", "a", "zero"], ["m"]), N("Mul", ["m", "x"], ["y"])],
     {"table": weights(9, 4), "w": weights(4, 3), "zero": np.float32(0)},
     {"ids": (TensorProto.INT64, [1, 5]), "mask": (TensorProto.BOOL, [1, 5, 1]), "x": (TensorProto.FLOAT, [1, 5, 3])})
case("nothing", [N("Relu", ["x"], ["y"])], {}, float_input(1, 3))
case("unsupported", [N("Det", ["x"], ["a"]), N("Hardmax", ["x"], ["b"]), N("Det", ["x"], ["c"]), N("Resize", ["x", "", "s"], ["y"], mode="cubic")],
     {"s": np.float32([1, 1, 2, 2])}, float_input(1, 1, 2, 2))

HEADS = {"split": np.int64([1, 7, 3, 4]), "joined": np.int64([1, 7, 12])}
case("heads", [N("MatMul", ["x", "wq"], ["q"], name="q"), N("Reshape", ["q", "split"], ["q4"]), N("Transpose", ["q4"], ["qh"], perm=[0, 2, 1, 3]),
               N("Relu", ["x"], ["r"]), N("Reshape", ["r", "split"], ["k4"]), N("Transpose", ["k4"], ["kh"], perm=[0, 2, 3, 1]),
               N("MatMul", ["qh", "kh"], ["s"], name="qk"), N("Softmax", ["s"], ["p"], axis=-1), N("Transpose", ["k4"], ["vh"], perm=[0, 2, 1, 3]),
               N("MatMul", ["p", "vh"], ["o"], name="pv"), N("Transpose", ["o"], ["ot"], perm=[0, 2, 1, 3]), N("Reshape", ["ot", "joined"], ["y"])],
     {"wq": weights(12, 12)} | HEADS, float_input(1, 7, 12))
case("shared_keys", [N("Reshape", ["x", "split"], ["q4"]), N("Transpose", ["q4"], ["qh"], perm=[0, 2, 1, 3]), N("Slice", ["qh", "one", "two", "one"], ["k"]),
                     N("Relu", ["k"], ["kr"]), N("Transpose", ["kr"], ["kt"], perm=[0, 1, 3, 2]), N("MatMul", ["qh", "kt"], ["s"], name="qk"),
                     N("MatMul", ["s", "kr"], ["y"], name="pv")],
     {"one": np.int64([1]), "two": np.int64([2])} | HEADS, float_input(1, 7, 12))
case("einsums", [N("Reshape", ["x", "split"], ["q"]), N("Relu", ["q"], ["k"]), N("Einsum", ["q", "k"], ["s"], name="qk", equation="bihd,bjhd->bhij"),
                 N("Einsum", ["s", "k"], ["o"], name="pv", equation="bhij,bjhd->bihd"), N("Einsum", ["o", "q"], ["y"], name="outer", equation="bihd,bihe->de")],
     HEADS, float_input(1, 7, 12))
case("gemm_of_two", [N("Relu", ["x"], ["r"]), N("Gemm", ["x", "r", "c"], ["y"], name="both", transA=1, alpha=0.5)], {"c": weights(6)}, float_input(5, 6))
case("qdq_pair", [N("QuantizeLinear", ["x", "s", "z"], ["q"]), N("DequantizeLinear", ["q", "s", "z"], ["f"]), N("Transpose", ["x"], ["t"], perm=[1, 0]),
                  N("QuantizeLinear", ["t", "s", "u"], ["p"]), N("DequantizeLinear", ["p", "s", "u"], ["g"]), N("MatMul", ["f", "g"], ["a"], name="qk"),
                  N("QuantizeLinear", ["a", "s", "u"], ["b"]), N("QLinearMatMul", ["b", "s", "u", "q", "s", "z", "s", "z"], ["c"], name="pv"),
                  N("DequantizeLinear", ["c", "s", "z"], ["y"])],
     {"s": np.float32(1 / 16), "z": np.int8(2), "u": np.int8(-1)}, float_input(5, 6))
for function in ("Tanh", "Relu"):
    case(f"rnn_{function.lower()}", [N("RNN", ["x", "w", "r", "b"], ["y"], name="rnn", hidden_size=H, activations=[function])],
         {"w": weights(1, H, I), "r": weights(1, H, H), "b": weights(1, 2 * H)}, float_input(T, 1, I))
case("lstm_alone", [N("LSTM", ["x", "w", "r", "b"], ["y"], name="rnn", hidden_size=H, direction="bidirectional")],
     {"w": weights(2, 4 * H, I), "r": weights(2, 4 * H, H), "b": weights(2, 8 * H)}, float_input(T, 1, I))
case("lstm_step", [N("LSTM", ["x", "w", "r", "b", "", "h", "c"], ["all", "hn", "cn"], name="rnn", hidden_size=H), N("MatMul", ["all", "v"], ["y"], name="out")],
     {"w": weights(1, 4 * H, I), "r": weights(1, 4 * H, H), "b": weights(1, 8 * H), "v": weights(H, 3)},
     float_input(1, 1, I) | {k: (TensorProto.FLOAT, [1, 1, H]) for k in "hc"}, outputs=("y", "hn", "cn"))
for direction, d in [("reverse", 1), ("bidirectional", 2)]:
    small = lambda *shape: rng.integers(-60, 61, shape).astype(np.int8)
    # No value halfway between two codes, where programs may round in other directions.
    case(f"dynamic_lstm_{direction}", [N("Add", ["x", "offset"], ["m"]), N("DynamicQuantizeLSTM", ["m", "w", "r", "b", "", "", "", "", "ws", "wz", "rs", "rz"], ["y"], name="rnn", domain="com.microsoft",
                                         hidden_size=H, direction=direction)],
         {"w": small(d, I, 4 * H), "r": small(d, H, 4 * H), "b": weights(d, 8 * H), "offset": np.float32(0.03), "ws": np.float32([0.02] * d), "wz": np.int8([0] * d),
          "rs": np.float32([0.01] * d), "rz": np.int8([0] * d)}, float_input(T, d, I), domains=("com.microsoft",))
case("dynamic_pair", [N("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), N("Transpose", ["x"], ["t"], perm=[0, 2, 1]), N("Relu", ["t"], ["r"]),
                      N("DynamicQuantizeLinear", ["r"], ["p", "ps", "pz"]), N("MatMulInteger", ["q", "p", "z", "pz"], ["a"], name="qk"),
                      N("Cast", ["a"], ["f"], to=1), N("Mul", ["f", "s"], ["y"])], {}, float_input(2, 3, 6))

case("batch", [N("Conv", ["x", "w"], ["a"], name="unmeasured", kernel_shape=[3, 3]), N("Conv", ["a", "v"], ["y"], name="points", kernel_shape=[1, 1])],
     {"w": weights(6, 4, 3, 3), "v": weights(9, 6, 1, 1)}, float_input(2, 4, 6, 5))
case("conv3d", [N("Conv", ["x", "w"], ["y"], name="volume")], {"w": weights(2, 3, 2, 2, 2)}, float_input(1, 3, 4, 4, 4))

# --- What is counted ---------------------------------------------------------------------------------------------------------


def fixed16(x, magnitude):
    f = 0 if magnitude == 0 else int(np.floor(np.log2(32767 / float(magnitude))))
    return np.clip(np.round(np.float64(x) * 2.0**f), -32767, 32767)


class Counter:
    """Adds up classes by row."""

    def __init__(self):
        self.rows = {}

    def add(self, row, a, inside, w):
        """a, inside: [positions, taps]; w: [filters, taps]; one MAC a position, filter and tap."""
        a, w = a != 0, w != 0
        both = np.einsum("pt,ft->", a & inside, w, dtype=np.int64, casting="unsafe")
        live = np.einsum("pt,ft->", a & inside, np.ones_like(w), dtype=np.int64, casting="unsafe")
        within = np.einsum("pt,ft->", inside, w, dtype=np.int64, casting="unsafe")
        seen = int(inside.sum()) * len(w)
        dense = a.size * len(w)
        counts = [dense, dense - seen, seen - within - live + both, within - both, live - both, both]
        old = self.rows.setdefault(row, [0] * 6)
        self.rows[row] = [int(o + c) for o, c in zip(old, counts)]


def windows(a, kernel, stride, dilation, pads, group, groups):
    """Windows of [C, H, W]: values and whether they are inside, [positions, taps] for one group."""
    per = a.shape[0] // groups
    a = a[group * per:(group + 1) * per]
    inside = np.pad(np.ones(a.shape, bool), [(0, 0), (pads[0], pads[2]), (pads[1], pads[3])])
    a = np.pad(a, [(0, 0), (pads[0], pads[2]), (pads[1], pads[3])])
    rows, marks = [], []
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
    for y in range(0, a.shape[1] - reach[0] + 1, stride[0]):
        for x in range(0, a.shape[2] - reach[1] + 1, stride[1]):
            part = np.s_[:, y:y + reach[0]:dilation[0], x:x + reach[1]:dilation[1]]
            rows.append(a[part].reshape(-1))
            marks.append(inside[part].reshape(-1))
    return np.stack(rows), np.stack(marks)


def attribute(node, name, default=None):
    for a in node.attribute:
        if a.name == name:
            return helper.get_attribute_value(a)
    return default


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def two(values):
    return ([1] + list(values))[-2:] if len(values) == 1 else list(values)


def rows_of(model):
    """For each sample, (row, what, operand, weights, extra) of every operator that multiplies; operands from ONNX Runtime."""
    graph = model.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    more = onnx.ModelProto()
    more.CopyFrom(model)
    # Hidden values that the file does not give.
    for node in more.graph.node:
        if node.op_type == "RNN" and not node.output[0]:
            node.output[0] = "hidden"
    known = {o.name for o in more.graph.output}
    made = [n for node in more.graph.node for n in node.output if n]
    infos = {v.name: v for v in onnx.shape_inference.infer_shapes(more).graph.value_info}
    for name in made:
        if name not in known:
            more.graph.output.append(infos.get(name) or onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(more.SerializeToString(), options, providers=["CPUExecutionProvider"])
    makers = {n: node for node in more.graph.node for n in node.output}

    def operand(values, name):
        """Values, and whether they are codes: d = q - zero point."""
        maker = makers.get(name)
        if maker is not None and maker.op_type == "DequantizeLinear":
            q, z = (values[n] for n in (maker.input[0], maker.input[2]))
            if z.size > 1:
                assert not z.any()
                z = z.reshape(-1)[0]
            return q.astype(np.int64) - int(z), True
        return values[name], False

    samples = []
    for n in range(2):
        feed = feeds(model, n)
        values = dict(constants) | feed | dict(zip([o.name for o in more.graph.output], session.run(None, feed)))
        found = []
        for node in more.graph.node:
            op, i = node.op_type, list(node.input)
            if op in ("Conv", "ConvInteger", "QLinearConv"):
                w = 3 if op == "QLinearConv" else 1
                if op == "Conv":
                    (a, ca), (b, cb) = operand(values, i[0]), operand(values, i[1])
                else:
                    zeros = [int(np.reshape(values[i[z]], -1)[0]) if len(i) > z else 0 for z in ((2, 5) if op == "QLinearConv" else (2, 3))]
                    a, b, ca, cb = values[i[0]].astype(np.int64) - zeros[0], values[i[w]].astype(np.int64) - zeros[1], True, True
                found.append((node, node.name, "conv", a, ca, b, cb))
            elif op == "ConvTranspose":
                found.append((node, node.name, "transposed", values[i[0]], False, values[i[1]], False))
            elif op in ("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "QGemm", "Einsum"):
                second = 3 if op in ("QLinearMatMul", "QGemm") else 1
                if op in ("Gemm", "MatMul", "Einsum"):
                    (a, ca), (b, cb) = operand(values, i[0]), operand(values, i[1])
                else:
                    zeros = [int(np.reshape(values[i[z]], -1)[0]) if len(i) > z else 0 for z in ((2, 3) if op == "MatMulInteger" else (2, 5))]
                    a, b, ca, cb = values[i[0]].astype(np.int64) - zeros[0], values[i[second]].astype(np.int64) - zeros[1], True, True
                fixed = [makers.get(i[k]) is None and i[k] in constants or (makers.get(i[k]) is not None and all(m in constants for m in makers[i[k]].input)) for k in (0, second)]
                found.append((node, node.name, "product", a, ca, b, cb, fixed))
            elif op == "DynamicQuantizeLSTM":
                found += dynamic_lstm(node, values)
            elif op in ("LSTM", "GRU", "RNN"):
                found += recurrent(node, values)
        samples.append(found)
    return samples


def recurrent(node, values):
    op, i = node.op_type, list(node.input)
    x, w, r = values[i[0]], values[i[1]], values[i[2]]
    y, H = values[node.output[0]], r.shape[2]
    found = []
    for d in range(w.shape[0]):
        back = d == 1 or attribute(node, "direction", b"forward") == b"reverse"
        ending = "_reverse" if w.shape[0] == 2 and back else ""
        first = values[i[5]][d] if len(i) > 5 and i[5] else np.zeros_like(y[0, d])
        h = y[:, d]
        before = np.concatenate([h[1:], first[None]]) if back else np.concatenate([first[None], h[:-1]])
        flat = lambda v: v.reshape(-1, v.shape[-1])
        found.append((node, f"rnn.weight_ih{ending}", "rows", flat(x), False, w[d], False))
        if op == "GRU" and not attribute(node, "linear_before_reset", 0):
            b = values[i[3]][d]
            gate = x @ w[d][H:2 * H].T + before @ r[d][H:2 * H].T + b[H:2 * H] + b[4 * H:5 * H]
            found.append((node, f"rnn.weight_hh{ending}", "rows", flat(before), False, r[d][:2 * H], False))
            found.append((node, f"rnn.weight_hh_candidate{ending}", "rows", flat(sigmoid(gate) * before), False, r[d][2 * H:], False))
        else:
            found.append((node, f"rnn.weight_hh{ending}", "rows", flat(before), False, r[d], False))
    return found


def dynamic_codes(x):
    """DynamicQuantizeLinear: codes less their zero point."""
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    if low == high:
        return np.zeros(x.shape, np.int64)
    scale = np.float32(np.float32(high - low) / np.float32(255))
    zero = np.round(np.clip(-np.float32(low) / scale, 0, 255))
    return (np.clip(np.round(x / scale) + zero, 0, 255) - zero).astype(np.int64)


def dynamic_lstm(node, values):
    i = list(node.input)
    x, w, r, y = values[i[0]], values[i[1]].astype(np.int64), values[i[2]].astype(np.int64), values[node.output[0]]
    found = []
    for d in range(w.shape[0]):
        back = d == 1 or attribute(node, "direction", b"forward") == b"reverse"
        ending = "_reverse" if w.shape[0] == 2 and back else ""
        h, first = y[:, d], np.zeros_like(y[0, d])[None]
        before = np.concatenate([h[1:], first]) if back else np.concatenate([first, h[:-1]])
        # All of x at once, and the hidden values step by step.
        steps = np.stack([dynamic_codes(step) for step in before])
        zeros = [values[i[k]][d].astype(np.int64) for k in (9, 11)]
        found.append((node, f"rnn.weight_ih{ending}", "rows", dynamic_codes(x).reshape(-1, x.shape[-1]), True, (w[d] - zeros[0]).T, True))
        found.append((node, f"rnn.weight_hh{ending}", "rows", steps.reshape(-1, h.shape[-1]), True, (r[d] - zeros[1]).T, True))
    return found


def coded(arrays, are_codes):
    if are_codes:
        return arrays
    magnitude = max(np.abs(a).max() for a in arrays)
    return [fixed16(a, magnitude) for a in arrays]


def count_pair(counter, node, row, a, b):
    """A product of two activations: every matrix of a with that of b."""
    if node.op_type == "Einsum":
        (x, y), z = (part.split(",") if "," in part else part for part in attribute(node, "equation").decode().split("->"))
        # Every MAC: an index for each letter.
        letters = sorted(set(x + y))
        sizes = dict(zip(x, a.shape)) | dict(zip(y, b.shape))
        shape = [sizes[c] for c in letters]
        spread = lambda v, term: np.broadcast_to(v.transpose(np.argsort(term)).reshape([sizes[c] if c in term else 1 for c in letters]), shape)
        a, b = spread(a, list(x)), spread(b, list(y))
        assert set(z) <= set(letters)
        # One position and one filter a MAC.
        for p, q in zip(a.reshape(-1), b.reshape(-1)):
            counter.add(row, np.array([[p]]), np.ones((1, 1), bool), np.array([[q]]))
        return
    a = a.T if attribute(node, "transA", 0) else a
    b = b.T if attribute(node, "transB", 0) else b
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = np.broadcast_to(a, batch + a.shape[-2:]), np.broadcast_to(b, batch + b.shape[-2:])
    for one, other in zip(a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:])):
        counter.add(row, one, np.ones(one.shape, bool), other.T)


def count(model):
    counter = Counter()
    samples = rows_of(model)
    for parts in zip(*samples):
        node, row, what, _, ca, w, cb = parts[0][:7]
        if row == "unmeasured":
            continue
        if what == "product" and not any(parts[0][7]):
            for a, b in zip(coded([p[3] for p in parts], ca), coded([p[5] for p in parts], cb)):
                count_pair(counter, node, row, a, b)
            continue
        a_all = coded([p[3] for p in parts], ca)
        [w] = coded([w], cb)
        for a in a_all:
            if what == "rows":
                counter.add(row, a, np.ones(a.shape, bool), w)
            elif what == "conv":
                groups = attribute(node, "group", 1)
                kernel = two(w.shape[2:])
                stride, dilation = (two(attribute(node, k, [1] * (w.ndim - 2))) for k in ("strides", "dilations"))
                size = two(a.shape[2:])
                auto = attribute(node, "auto_pad", b"NOTSET")
                pads = attribute(node, "pads", [0] * (2 * (w.ndim - 2)))
                pads = [0, pads[0], 0, pads[1]] if len(pads) == 2 else list(pads)
                if auto != b"NOTSET":
                    need = [max((-(-s // t) - 1) * t + d * (k - 1) + 1 - s, 0) for s, t, d, k in zip(size, stride, dilation, kernel)]
                    less = [n // 2 for n in need]
                    more = [n - l for n, l in zip(need, less)]
                    pads = less + more if auto == b"SAME_UPPER" else more + less
                for image in a:
                    image = image.reshape(a.shape[1], *size)
                    for g in range(groups):
                        part, inside = windows(image, kernel, stride, dilation, pads, g, groups)
                        per = len(w) // groups
                        counter.add(row, part, inside, w[g * per:(g + 1) * per].reshape(per, -1))
            elif what == "transposed":
                groups = attribute(node, "group", 1)
                per = a.shape[1] // groups
                for g in range(groups):
                    part = a[0, g * per:(g + 1) * per].reshape(per, -1)
                    v = w[g * per:(g + 1) * per].reshape(per, -1)
                    # Each pixel of a channel meets every tap of that channel.
                    counter.add(row, part.T, np.ones(part.T.shape, bool), v.T)
            else:
                fixed = parts[0][7]
                op = node.op_type
                b = w
                if attribute(node, "transA", 0):
                    a = a.T
                if attribute(node, "transB", 0):
                    b = b.T
                if op == "Einsum":
                    b = b.T  # kj
                if fixed[0]:  # weights first: transpose the product
                    a, b = np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2)
                if b.ndim == 1:
                    b = b[:, None]
                if b.ndim == 2:
                    flat = a.reshape(-1, a.shape[-1])
                    counter.add(row, flat, np.ones(flat.shape, bool), b.T)
                else:
                    for one, other in zip(a, b):
                        counter.add(row, one, np.ones(one.shape, bool), other.T)
    return counter.rows


def feeds(model, n):
    feed = {}
    start = 0
    constants = {t.name for t in model.graph.initializer}
    total = sum(int(np.prod([d.dim_value for d in i.type.tensor_type.shape.dim])) for i in model.graph.input if i.name not in constants)
    values = pattern(total, n)
    for i in model.graph.input:
        shape = [d.dim_value for d in i.type.tensor_type.shape.dim]
        kind = i.type.tensor_type.elem_type
        part = values[start:start + int(np.prod(shape))].reshape(shape)
        start += part.size
        # Integers and bools: the sixteenths' magnitude.
        if kind == TensorProto.INT64:
            part = np.abs(part * 16).astype(np.int64)
        elif kind == TensorProto.BOOL:
            part = part > 0
        feed[i.name] = part
    return feed


if __name__ != "__main__":
    cases = {}
for name, model in cases.items():
    if name in ("unsupported", "conv3d"):
        continue
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = [session.run(None, feeds(model, n))[0] for n in range(2)]
    want[name] = {"outputs": [[float(v) for v in o.reshape(-1)] for o in outputs], "classes": count(model)}
if __name__ == "__main__":
    want["versions"] = {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__, "numpy": np.__version__}
    (here / "onnx_any.json").write_text(json.dumps(want, separators=(",", ":")).replace('},"', '},\n"') + "\n")
