"""Tests ray_measure.py on a local cluster of two workers, one of which is killed while parts run: python test_ray.py DEADWEIGHT

The merged file must be that of one run, byte for byte.
"""

import pathlib
import subprocess
import sys
import tempfile
import time

from ray.cluster_utils import Cluster

SHARDS = 12


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    script = pathlib.Path(__file__).with_name("ray_measure.py")
    run = ["digits", "--batch-size", "1"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # Every part takes a while, so that one is running when its worker goes.
        slow = folder / "deadweight"
        slow.write_text(f'#!/bin/sh\nset -eu\ncase "$1" in measure) echo "$$" >> {folder}/started; sleep 1.5;; esac\nexec {program} "$@"\n')
        slow.chmod(0o755)
        whole, merged = folder / "whole.dwm", folder / "merged.dwm"
        subprocess.run([program, "measure", *run, "-o", whole], check=True)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        workers = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()
        command = [sys.executable, script, "--address", cluster.address, "--shards", str(SHARDS), "--program", slow]
        measuring = subprocess.Popen([*command, "-o", merged, "--", *run], stderr=subprocess.PIPE, text=True)
        started = folder / "started"
        deadline = time.monotonic() + 120
        while not started.exists() or len(started.read_text().split()) < 4:
            assert measuring.poll() is None, measuring.stderr.read()
            assert time.monotonic() < deadline, "no part was started"
            time.sleep(0.1)
        cluster.remove_node(workers[0], allow_graceful=False)
        _, said = measuring.communicate(timeout=240)
        cluster.shutdown()
        assert measuring.returncode == 0, said
        runs = len(started.read_text().split())
        assert runs > SHARDS, f"{runs} parts were started: none was lost with the worker"
        assert merged.read_bytes() == whole.read_bytes(), "the merged file is not that of one run"
        print(f"{SHARDS} parts on two workers, one killed: {runs} started, the file is that of one run")


if __name__ == "__main__":
    main()
