"""Measures one model on the workers of a Ray cluster: python ray_measure.py --shards 16 -o run.dwm -- MODEL INPUT... [FLAGS OF measure]

Each task runs `deadweight measure MODEL INPUT... --shard i/n` on some worker and hands back the counts. A task that fails, or whose
worker is lost, runs again on another. The parts are merged exactly: the file is that of one run, byte for byte. Inputs and weights
must be at the same paths on every worker. Needs `pip install ray`; without an address a local cluster is started.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import ray
from ray.exceptions import RayError

SECONDS_BETWEEN_MESSAGES = 5


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", help="of the cluster; `auto` for the one this machine is in [default: a local one]")
    parser.add_argument("--shards", type=int, default=16, help="parts; several a worker, so that a slow one holds nobody up")
    parser.add_argument("--retries", type=int, default=3, help="how often a part is tried again")
    parser.add_argument("--cpus", type=int, default=1, help="processors of a task, which are its threads")
    parser.add_argument("--program", default="deadweight", help="path of deadweight on the workers")
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True, help="counts of the whole run (.dwm)")
    parser.add_argument("measure", nargs="+", help="MODEL INPUT... and flags of `deadweight measure`, behind --")
    return parser.parse_args()


def measure_shard(program, measure, shard, shards, threads):
    """The counts of part `shard` of `shards`, as the bytes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        part = pathlib.Path(folder) / "part.dwm"
        command = [program, "measure", *measure, "--shard", f"{shard}/{shards}", "--threads", str(threads), "-o", str(part)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"part {shard} of {shards}: exit code {done.returncode}: {done.stderr.strip()}")
        return part.read_bytes()


def main():
    args = arguments()
    ray.init(address=args.address, log_to_driver=False, logging_level="warning")
    # `retry_exceptions` retries what the program could not do as well as what was lost with a worker.
    task = ray.remote(num_cpus=args.cpus, max_retries=args.retries, retry_exceptions=True)(measure_shard)
    pending = {task.remote(args.program, args.measure, i, args.shards, args.cpus): i for i in range(1, args.shards + 1)}
    with tempfile.TemporaryDirectory() as folder:
        parts, said = [], time.monotonic()
        while pending:
            ready, _ = ray.wait(list(pending), timeout=SECONDS_BETWEEN_MESSAGES)
            for reference in ready:
                shard = pending.pop(reference)
                part = pathlib.Path(folder) / f"{shard}.dwm"
                try:
                    part.write_bytes(ray.get(reference))
                except RayError as error:
                    sys.exit(f"error: part {shard} failed {args.retries + 1} times: {error}")
                parts.append(str(part))
            if ready or time.monotonic() - said > SECONDS_BETWEEN_MESSAGES:
                said = time.monotonic()
                workers = sum(node["Alive"] for node in ray.nodes())
                print(f"{len(parts)} of {args.shards} parts, {workers} nodes alive", file=sys.stderr)
        merged = subprocess.run([args.program, "merge", *parts, "-o", str(args.output)])
        sys.exit(merged.returncode)


if __name__ == "__main__":
    main()
