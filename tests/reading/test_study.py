"""The study's pages are its figures, and those of the built-in models are what a run gives: python test_study.py DEADWEIGHT"""

import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
STUDY = ROOT / "examples" / "study"
sys.path.insert(0, str(STUDY))
sys.dont_write_bytecode = True

import collect  # noqa: E402
import json  # noqa: E402
import pages  # noqa: E402
import runs  # noqa: E402
import study  # noqa: E402


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    results = json.loads((STUDY / "results.json").read_text())
    for template, page in pages.PAGES.items():
        assert (ROOT / "docs" / page).read_text() == pages.fill(template, results), f"docs/{page} is not filled with results.json"

    def show(*words):
        return subprocess.run([program, *words, "--quiet"], check=True, capture_output=True, text=True).stdout

    own = {key for key, *_ in runs.CLASSES[runs.BUILTIN]}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "runs").mkdir()
        (folder / "inputs").mkdir()
        chosen = [run for run in runs.all_runs() if run.key.split(".")[0] in own]
        for run in chosen:
            study.execute(program, folder, run)
            got = {"command": run.command(), **collect.READ[run.verb](show, study.result(folder, run))}
            assert json.loads(json.dumps(got)) == results[run.key], f"{run.key}: {run.command()} gives other figures"
    print(f"{len(pages.PAGES)} pages and {len(chosen)} runs of built-in models are as in results.json")


if __name__ == "__main__":
    main()
