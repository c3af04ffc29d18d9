"""Runs the study and writes its pages: examples/study.sh says how it is called.

Three steps, each from the files of the one before: commands of deadweight (runs.py) give files in OUT/runs; their figures are
collected in OUT/results.json; the templates beside this file, filled with those figures, are the pages.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import time

import collect
import inputs
import pages
import runs

# What a run of each verb writes.
SUFFIX = {"measure": ".dwm", "designs": ".dwm", "precision": ".toml", "study prune": ".json", "study threshold": ".json"}


def result(folder, run):
    return folder / "runs" / (run.key + SUFFIX[run.verb])


def execute(program, folder, run):
    """Runs a command, unless its result is there and of the same command."""
    file, said = result(folder, run), folder / "runs" / f"{run.key}.command"
    if file.exists() and said.exists() and said.read_text() == run.command():
        return
    file.unlink(missing_ok=True)
    started = time.monotonic()
    words = [str(program), *run.words(), "--quiet"]
    if run.verb.startswith("study"):
        given = subprocess.run([*words, "--format", "json"], cwd=folder / "inputs", stdout=subprocess.PIPE)
    else:
        given = subprocess.run([*words, "-o", str(file)], cwd=folder / "inputs", stdout=subprocess.DEVNULL)
    if given.returncode:
        sys.exit(f"error: {run.command()}: exit code {given.returncode} (in {folder / 'inputs'})")
    if run.verb.startswith("study"):
        file.write_bytes(given.stdout)
    said.write_text(run.command())
    print(f"{time.monotonic() - started:7.1f} s  {run.command()}", flush=True)


def main():
    parser = argparse.ArgumentParser(description="Runs the study of docs/results.md.")
    for name, what in [
        ("deadweight", "the program"),
        ("assets", "folder of weights and data"),
        ("fetched", "folder of what shared/fetch.sh gets"),
        ("out", "folder of results"),
    ]:
        parser.add_argument(f"--{name}", type=lambda path: pathlib.Path(path).resolve(), required=True, help=what)
    given = parser.parse_args()
    for name in ("deadweight", "assets", "fetched"):
        if not getattr(given, name).exists():
            sys.exit(f"error: {getattr(given, name)}: is not there")
    (given.out / "runs").mkdir(parents=True, exist_ok=True)
    inputs.prepare(given.out / "inputs", given.assets, given.fetched)
    everything = runs.all_runs()
    for run in everything:
        execute(given.deadweight, given.out, run)
    results = collect.collect(given.deadweight, given.assets, everything, lambda run: result(given.out, run))
    collect.write(results, given.out / "results.json")
    pages.write(results, given.out)
    measured = [str(result(given.out, run)) for run in everything if run.key in pages.PICTURED]
    subprocess.run([given.deadweight, "report", *measured, "--quiet", "-o", given.out / "report.html"], check=True)
    shutil.rmtree(given.out / "svg", ignore_errors=True)
    subprocess.run([given.deadweight, "report", *measured, "--quiet", "--svg", given.out / "svg"], check=True)
    shutil.copy(given.out / "svg" / "potentials.svg", given.out / "results-potentials.svg")
    print(f"pages, figures and report are in {given.out}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped: the same command goes on where it was")
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {' '.join(map(str, error.cmd))}: exit code {error.returncode}")
