"""worker.py ENGINE NETWORK@BATCH THREADS DIR: one engine holding one network, asked over stdin.

After loading and one run it prints {"version", "mean_abs", "n"} and leaves its output in DIR for comparison; to each line
with a count it answers with that many run times in milliseconds, as a JSON list; of tokens that are read one by one, times of one.
"""

import json
import os
import sys
import time
from pathlib import Path

engine, job, threads, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(threads)

import numpy as np

from inputs import inputs

facts = json.loads((folder / f"{job}.json").read_text())
x, steps = inputs(facts["shape"]), facts.get("steps", 0)
file = str(folder / f"{job}.onnx")


def torch_run():
    import torch

    from networks import build

    torch.set_num_threads(threads)
    net, tensor = build(job.split("@")[0]), torch.from_numpy(x)
    if engine == "torch-compile":
        import torch._inductor.config

        torch._inductor.config.freezing = True
        net = torch.compile(net)
    if engine == "torch-hooks":
        import hooks

        hooks.attach(net)

    def run():
        with torch.inference_mode():
            return net(tensor).numpy()

    return f"PyTorch {torch.__version__}", run


def onnxruntime_run():
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return f"ONNX Runtime {onnxruntime.__version__}", lambda: session.run(None, {"x": x})[0]


def openvino_run():
    import openvino

    core = openvino.Core()
    network = core.read_model(file)
    network.reshape(list(x.shape))
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    return f"OpenVINO {openvino.__version__}", lambda: np.asarray(request.infer([x])[0])


def llama_run():
    from texts import llama_runs

    floats = engine.endswith("-f32")
    tokens = inputs([1, x.size + steps])[0].tolist()
    return llama_runs(folder / facts["floats" if floats else "model"], floats, tokens, steps, threads)


runs = {"onnxruntime": onnxruntime_run, "openvino": openvino_run, "llama": llama_run, "llama-f32": llama_run}
# Some engines have to be put where a run begins, which is not timed.
version, run, *prepare = runs.get(engine, torch_run)()
prepare = prepare[0] if prepare else lambda: None
prepare()
y = np.ascontiguousarray(run(), np.float32)
y.tofile(folder / f"{job}.{engine}.f32")
print(json.dumps({"version": version, "mean_abs": float(np.abs(y).mean(dtype=np.float64)), "n": y.size}), flush=True)
for line in sys.stdin:
    times = []
    for _ in range(int(line)):
        prepare()
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3 / max(1, steps))
    print(json.dumps(times), flush=True)
