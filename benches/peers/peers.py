"""peers.py: times deadweight beside other engines, in one interleaved run, and writes the table of benches/RESULTS.md.

Each engine is a process of its own that holds one network (worker.py tells how it is talked to). Engines take turns, round
by round; a ratio is taken within a round, and its median over the rounds is what is told.
"""

import argparse
import json
import os
import select
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
OURS = ("deadweight-off", "deadweight-values", "deadweight-terms", "deadweight-full")
RUST = ("tract", "rten")
# candle's own transformers; those in floats end in -f32.
CANDLE = ("candle-bert", "candle-llama", "candle-llama-f32")
# Engines that multiply 4-bit weights by activations of 8 bits: how far they are is told, whatever it is.
CODED = ("llama", "candle-llama")
# Largest difference of outputs, in shares of the largest output: floats by 1e-3, codes by a few steps of 8 bits.
FLOATS, CODES = 1e-3, 0.1


def command(engine, job, threads, args):
    if engine in OURS or engine == "candle":
        level = engine.removeprefix("deadweight-")
        return [args.worker, job, str(threads), str(args.dir), level]
    if engine in RUST:
        return [f"{args.rust}/{engine}", job, str(threads), str(args.dir)]
    if engine in CANDLE:
        return [f"{args.rust}/candle", job, str(threads), str(args.dir), engine]
    return [sys.executable, str(HERE / "worker.py"), engine, job, str(threads), str(args.dir)]


class Engine:
    def __init__(self, name, job, threads, args):
        self.name, self.times, self.patience = name, [], args.patience
        environment = dict(os.environ)
        for variable in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "RTEN_NUM_THREADS"):
            environment[variable] = str(threads)
        pin = (lambda: os.sched_setaffinity(0, {args.cpu})) if threads == 1 else None
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(
            command(name, job, threads, args), text=True, bufsize=1, env=environment, preexec_fn=pin, **streams
        )
        self.facts = self.read()
        # Of tokens that are read one by one, a run is of all of them and a time of one.
        steps = max(1, json.loads((args.dir / f"{job}.json").read_text()).get("steps", 0))
        self.count = max(1, min(200, round(args.ms / steps / max(self.ask(1)[0], self.ask(1)[0]))))

    def read(self):
        while select.select([self.process.stdout], [], [], self.patience)[0]:
            line = self.process.stdout.readline()
            if not line:
                raise OSError("it ended")
            if line[0] in "{[":
                return json.loads(line)
        raise OSError(f"no answer in {self.patience} s")

    def ask(self, count):
        self.process.stdin.write(f"{count}\n")
        return self.read()

    def turn(self):
        # What ran before may have threads that still spin.
        time.sleep(0.06)
        self.times.append(statistics.median(self.ask(self.count)))

    def stop(self):
        self.process.kill()
        self.process.wait()


def start(job, threads, engines, args):
    started, failed = {}, {}
    for name in engines:
        try:
            started[name] = Engine(name, job, threads, args)
        except (OSError, json.JSONDecodeError) as error:
            failed[name] = str(error)
            print(f"{job} {threads} {name}: {error}", flush=True)
    return started, failed


def apart(job, engines, args):
    """How far each engine's output is from ONNX Runtime's, or from llama.cpp's in floats, in shares of the largest; and of
    logits, the share of steps whose most likely token is the same.

    Of an engine that gives the last steps alone, these are compared.
    """
    base = next((name for name in ("onnxruntime", "llama-f32") if name in engines), next(iter(engines)))
    read = lambda name: np.fromfile(args.dir / f"{job}.{name}.f32", np.float32)
    want = read(base)

    words = json.loads((args.dir / f"{job}.json").read_text()).get("words")

    def compared(got):
        wanted = want[-len(got) :]
        likeliest = [of.reshape(-1, words).argmax(1) for of in (got, wanted)] if words else None
        same = float((likeliest[0] == likeliest[1]).mean()) if words else None
        return float(np.abs(got - wanted).max() / np.abs(wanted).max()), same

    found = {name: compared(read(name)) for name in engines}
    limit = CODES if "int8" in job else FLOATS
    for name, (difference, _) in found.items():
        if not difference <= limit and name not in CODED:
            sys.exit(f"{job}: the output of {name} is {difference:.2e} from that of {base}")
    return found


def compare(job, threads, args):
    engines, failed = start(job, threads, args.engines, args)
    differences = apart(job, engines, args)
    for _ in range(args.rounds):
        for engine in engines.values():
            engine.turn()
    for engine in engines.values():
        engine.stop()
    base = engines["deadweight-off"].times
    result = {"failed": failed, "engines": {}}
    for name, engine in engines.items():
        ratios = [ours / theirs for ours, theirs in zip(base, engine.times)]
        quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        result["engines"][name] = {
            "version": engine.facts["version"],
            "ms": statistics.median(engine.times),
            "plain_over": quartiles,
            "apart": differences[name][0],
            "same": differences[name][1],
            "rounds": engine.times,
        }
        line = f"{job} {threads} {name}: {statistics.median(engine.times):.2f} ms, ours is {quartiles[1]:.3f} of it"
        print(line, flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where export.py wrote the networks")
    parser.add_argument("--jobs", required=True, help="NETWORK@BATCH,...")
    parser.add_argument("--engines", default="deadweight-off,deadweight-terms,deadweight-full,onnxruntime,openvino,torch,candle,tract,rten")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--ms", type=float, default=150, help="about how long a turn takes")
    parser.add_argument("--patience", type=float, default=120, help="seconds after which an engine is given up")
    parser.add_argument("--cpu", type=int, default=0, help="the processor that one-thread runs keep to")
    parser.add_argument("--worker", default=str(HERE / "../../target/release/examples/peer_worker"))
    parser.add_argument("--rust", default=str(HERE / "rust/target/release"), help="where tract and rten were built")
    parser.add_argument("--out", type=Path, required=True, help="JSON of all figures; what is in it is not run again")
    args = parser.parse_args()
    args.engines = args.engines.split(",")
    results = json.loads(args.out.read_text()) if args.out.exists() else {}
    for threads in map(int, args.threads.split(",")):
        for job in args.jobs.split(","):
            key = f"{job} {threads}"
            if key not in results:
                results[key] = compare(job, threads, args)
                args.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
