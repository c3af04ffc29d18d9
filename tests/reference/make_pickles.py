"""Makes the tiny PyTorch checkpoints in pickles/ and expected.json: what PyTorch itself reads from them.

Run with PyTorch 2: `python tests/reference/make_pickles.py`. The values are seeded. expected.json holds, for each file
and each tensor, the shape and the values as float32 bit patterns, or the name of the file that holds the same.
"""

import collections
import json
import pathlib
import pickle
import struct
import warnings
import zipfile

import torch
import torch.nn.utils.prune

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).parent / "pickles"
EXPECTED = {}


def bits(tensor):
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    values = tensor.detach().to(torch.float32).contiguous().flatten().tolist()
    return [struct.unpack("<I", struct.pack("<f", value))[0] for value in values]


def note(name, state):
    new = {key: {"shape": list(t.shape), "bits": bits(t)} for key, t in state.items()}
    EXPECTED[name] = next((known for known, old in EXPECTED.items() if old == new), new)


def save(name, value, state, **options):
    torch.save(value, HERE / name, **options)
    note(name, state)


def dtypes(seed):
    torch.manual_seed(seed)
    x = torch.randn(3, 4)
    wide = torch.tensor([[-(2**40) - 1, 2**31, 7], [0, -1, 2**62 + 12345]])
    return {
        "f32": x,
        "f64": x.double() / 3,
        "f16": x.half(),
        "bf16": x.bfloat16(),
        "i8": torch.tensor([-128, -1, 0, 127], dtype=torch.int8),
        "u8": torch.tensor([0, 1, 128, 255], dtype=torch.uint8),
        "i16": torch.tensor([-32768, -2, 32767], dtype=torch.int16),
        "i32": torch.tensor([-(2**31), 16777217, 5], dtype=torch.int32),
        "i64": wide,
        "bool": torch.tensor([[True, False], [False, True]]),
        "scalar": torch.tensor(2.5),
        "count": torch.tensor(17),
        "empty": torch.zeros(0, 3),
    }


def new_dtypes():
    return {
        "u16": torch.tensor([0, 40000, 65535], dtype=torch.uint16),
        "u32": torch.tensor([0, 4294967295], dtype=torch.uint32),
        "u64": torch.tensor([1, 2**63], dtype=torch.uint64),
        "e4m3": torch.tensor([0.0, -0.015625, 0.001953125, 448.0, -1.75]).to(torch.float8_e4m3fn),
        "e5m2": torch.tensor([0.0, -6.1035e-05, 1.5259e-05, 57344.0, -1.75]).to(torch.float8_e5m2),
    }


def quantised():
    torch.manual_seed(3)
    scales, zeros = torch.tensor([0.1, 0.25, 0.013]), torch.tensor([0, -3, 12])
    x = torch.randn(3, 2, 2)
    return {
        "tensor_i8": torch.quantize_per_tensor(x, 0.037, 3, torch.qint8),
        "tensor_u8": torch.quantize_per_tensor(x, 0.037, 128, torch.quint8),
        "tensor_i32": torch.quantize_per_tensor(x, 0.0001, 0, torch.qint32),
        "channel_0": torch.quantize_per_channel(x, scales, zeros, 0, torch.qint8),
        "channel_1": torch.quantize_per_channel(x.transpose(0, 1).contiguous(), scales, zeros, 1, torch.qint8),
    }


def sparse():
    torch.manual_seed(6)
    weight = torch.randn(4, 3, 2, 2) * (torch.rand(4, 3, 2, 2) > 0.7)
    twice = torch.sparse_coo_tensor(torch.tensor([[0, 1, 0], [2, 0, 2]]), torch.tensor([1.0, 2.0, 4.0]), (2, 3))
    stored = {"weight": weight.to_sparse(), "twice": twice, "none": torch.zeros(2, 5).to_sparse(), "bias": torch.ones(4)}
    return stored, {name: tensor.to_dense() if tensor.is_sparse else tensor for name, tensor in stored.items()}


def pruned():
    torch.manual_seed(7)
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.Linear(4, 5))
    for layer in net:
        torch.nn.utils.prune.l1_unstructured(layer, "weight", 0.6)
    stored = net.state_dict()
    return stored, {"0.weight": net[0].weight, "0.bias": net[0].bias, "1.weight": net[1].weight, "1.bias": net[1].bias}


def views():
    torch.manual_seed(4)
    base = torch.randn(4, 6)
    return {
        "transposed": base.t(),
        "column": base[:, 2],
        "steps": base[1::2, 1::3],
        "tail": base[3:],
        "permuted": torch.randn(2, 3, 4).permute(2, 0, 1),
        "repeated": torch.tensor([1.0, 2.0]).expand(3, 2),
        "channels_last": torch.randn(1, 2, 2, 3).contiguous(memory_format=torch.channels_last),
    }


def shared():
    weight = torch.arange(12.0).reshape(3, 4)
    return {"encoder.weight": weight, "decoder.weight": weight, "row": weight[1]}


class Leaf(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(size, 2))
        self.register_parameter("bias", None)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = Leaf(3)
        self.add_module("0", Leaf(1))
        self.register_buffer("count", torch.tensor(5))
        self.register_buffer("transient", torch.zeros(2), persistent=False)
        self.plain = torch.ones(2)


def training():
    torch.manual_seed(5)
    net = Net()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    sum(parameter.square().sum() for parameter in net.parameters()).backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return net, optimiser


class Tagged(torch.Tensor):
    """A tensor of a class of its own."""


def attributes():
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.note = "a parameter with an attribute"
    return {"tagged": torch.arange(3.0).as_subclass(Tagged), "parameter": parameter}


def prefixed(prefix, state):
    return collections.OrderedDict((prefix + key, value) for key, value in state.items())


def rewritten(name, source, change):
    """Copies a zip checkpoint with its pickle changed."""
    with zipfile.ZipFile(HERE / source) as old, zipfile.ZipFile(HERE / name, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            new.writestr(member, change(content) if member.endswith("data.pkl") else content)


def old_style(state):
    """A legacy file as PyTorch 0.3 on Python 2 wrote it: text opcodes, parameters as calls of their class."""

    def text(value):
        return b"S'" + value.encode() + b"'\n"

    def size(values):
        return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"

    keys = {name: str(1000 + i) for i, name in enumerate(state)}
    pairs = b""
    for name, tensor in state.items():
        storage = (
            b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(keys[name]) + text("cpu")
            + b"L%dL\nNtQ" % tensor.numel()
        )
        data = b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"I0\n" + size(tensor.shape) + size(tensor.stride()) + b"tR"
        parameter = b"ctorch.nn.parameter\nParameter\n(" + data + b"tR(I01\nI00\nccollections\nOrderedDict\n(tRtb"
        pairs += b"(lp1\nV" + name.encode("ascii") + b"\na" + parameter + b"aa"
    body = b"\x80\x02ccollections\nOrderedDict\n((l" + pairs + b"tR."
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    head += pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}, 2)
    order = sorted(keys.values())
    by_key = {key: state[name] for name, key in keys.items()}
    tail = pickle.dumps(order, 2)
    for key in order:
        tensor = by_key[key]
        tail += struct.pack("<q", tensor.numel()) + struct.pack(f"<{tensor.numel()}f", *tensor.flatten().tolist())
    return head + body + tail


def main():
    HERE.mkdir(exist_ok=True)
    # Legacy files carry the source of a module's class and its path, which is another on each machine.
    found = torch.serialization.get_source_lines_and_file
    torch.serialization.get_source_lines_and_file = lambda *args: (*found(*args)[:2], pathlib.Path(__file__).name)
    legacy = {"_use_new_zipfile_serialization": False}
    save("dtypes-zip.pt", dtypes(1), dtypes(1))
    save("dtypes-legacy.pt", dtypes(1), dtypes(1), **legacy)
    save("dtypes-protocol5.pt", dtypes(1), dtypes(1), **legacy, pickle_protocol=5)
    save("views-protocol4.pt", views(), views(), pickle_protocol=4)
    save("new-dtypes.pt", new_dtypes(), new_dtypes())
    for kind, options in {"zip": {}, "legacy": legacy}.items():
        save(f"sparse-{kind}.pt", *sparse(), **options)
    save("pruned.pt", *pruned())
    net, optimiser = training()
    state = net.state_dict()
    for kind, options in {"zip": {}, "legacy": legacy}.items():
        save(f"quantised-{kind}.pt", quantised(), quantised(), **options)
        save(f"shared-{kind}.pt", shared(), shared(), **options)
        save(f"module-{kind}.pt", net, state, **options)
    save("views-legacy.pt", views(), views(), **legacy)
    save("wrapped-module.pth.tar", {"epoch": 3, "model": net, "rng_state": torch.ones(2)}, state, **legacy)

    junk = {"epoch": 9, "best": 0.5, "optimizer": optimiser.state_dict(), "history": [1.0, {"a": (None, True, -7)}]}
    save("nested-state_dict.bin", {**junk, "state_dict": state}, state)
    for key in ("model", "net", "model_state_dict", "unheard_of"):
        save(f"nested-{key}.bin", {**junk, key: state}, state, **legacy)
    save("nested-twice.pt", {"lr": 2**70, "model": {"state_dict": prefixed("module.", state)}}, state, **legacy)
    save("both-params.pt", {"params": prefixed("old.", state), "params_ema": state}, state, **legacy)
    save("parallel.th", prefixed("module.model.module.", state), state)
    save("parameters.pt", {key: torch.nn.Parameter(value) for key, value in shared().items()}, shared(), **legacy)
    plain = {"tagged": torch.arange(3.0), "parameter": torch.ones(2)}
    save("attributes.pt", attributes(), plain, **legacy)
    pieces = {f"{i}.w": torch.full((2,), float(i)) for i in range(3)}
    save("pieces.pt", {str(i): {"w": pieces[f"{i}.w"]} for i in range(3)}, pieces, **legacy)
    save("bare.pth", torch.arange(3.0), {"tensor": torch.arange(3.0)}, **legacy)

    old = {"conv.weight": torch.randn(2, 1, 2, 2), "conv.bias": torch.randn(2)}
    (HERE / "python2.pth").write_bytes(old_style(old))
    note("python2.pth", old)

    script = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(2, 2)))
    torch.jit.save(script, HERE / "script.pt")
    note("script.pt", script.state_dict())

    # A call of something dangerous, noted and not made; PyTorch itself refuses the file.
    torch.save({"w": torch.ones(2)}, HERE / "benign.pt")
    call = b"X\x04\x00\x00\x00evilcposix\nsystem\nX\x15\x00\x00\x00touch pickle-executed\x85Rs"
    rewritten("dangerous.pt", "benign.pt", lambda content: content[:-1] + call + b".")
    (HERE / "benign.pt").unlink()
    note("dangerous.pt", {"w": torch.ones(2)})

    torch.save({"c": torch.ones(2, dtype=torch.complex64), "w": torch.ones(1)}, HERE / "unsupported-complex.pt", **legacy)
    torch.save({"s": torch.eye(2).to_sparse_csr()}, HERE / "unsupported-sparse.pt", **legacy)
    huge = torch.sparse_coo_tensor(torch.tensor([[0], [0]]), torch.ones(1), (2**20, 2**20))
    torch.save({"s": huge}, HERE / "unsupported-huge.pt", **legacy)
    outside = torch.sparse_coo_tensor(torch.tensor([[5], [0]]), torch.ones(1), (2, 2), check_invariants=False)
    torch.save({"s": outside}, HERE / "unsupported-outside.pt", **legacy)
    torch.save({"a": torch.ones(1), "w": torch.tensor([1.0, float("nan")])}, HERE / "nan.pt", **legacy)

    lines = [f"{json.dumps(name)}: {json.dumps(tensors)}" for name, tensors in sorted(EXPECTED.items())]
    (HERE / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    total = sum(path.stat().st_size for path in HERE.iterdir())
    print(f"{len(EXPECTED)} checkpoints, {total} bytes")


main()
