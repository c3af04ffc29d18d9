"""Runs the README's section "Reading the results" as it stands, its commands and then its Python: python test_readme.py DEADWEIGHT

What the snippets read is compared with the JSON document. At the end, a terminal is refused Parquet.
"""

import json
import os
import pathlib
import pty
import re
import subprocess
import sys
import tempfile

import polars


def snippets():
    """The section's blocks of each kind."""
    readme = pathlib.Path(__file__).resolve().parents[2] / "README.md"
    section = readme.read_text().split("## Reading the results\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)
    assert [kind for kind, _ in blocks] == ["sh", "python", "python", "python"], blocks
    return [text for _, text in blocks]


def integer(value):
    """A count of the document: a string where a double could not hold it."""
    return int(value)


def check_pandas(read, document):
    layers = document["layers"]
    want = {layer["name"]: layer["activations"]["zeros"]["value"] for layer in layers}
    assert read["zeros"].to_dict() == want, read["zeros"]
    assert read["network"] == document["network"]["metrics"]["potential.W+A"]["with_padding"]
    rows, pandas = read["rows"], read["pandas"]
    csv = pandas.read_csv("run.csv")
    assert list(csv.columns) == list(rows.columns) and len(csv) == len(rows) > 1000
    for column in csv.columns:
        same = csv[column].isna() == rows[column].isna()
        assert same.all(), f"{column}: {rows[~same]}"
    assert (csv.value.dropna() == rows.value.dropna()).all()
    # Scopes do not mix: the layers' MACs are the network's.
    macs = rows[rows.metric == "macs"]
    of = lambda scope: sum(macs[macs.scope == scope].numerator)
    assert of("layer") == of("network") == integer(document["network"]["metrics"]["macs"]["value"])
    check_inputs(read["inputs"].to_dict("records"), document)


def check_inputs(inputs, document):
    assert len(inputs) == document["data"]["inputs"] and [line["index"] for line in inputs] == list(range(len(inputs)))
    for operand, name in [("activations", "zeros"), ("activations", "terms")]:
        for part in ["numerator", "denominator"]:
            total = sum(line[operand][name][part] for line in inputs)
            assert total == integer(document["network"][operand][name][part]), (name, part, total)


def check_polars(read, document):
    rows, gains = read["rows"], read["gains"].to_dicts()
    assert rows.schema["numerator"] == polars.Decimal(38, 0) and rows.schema["value"] == polars.Float64, rows.schema
    csv = polars.read_csv("run.csv", infer_schema_length=None)
    assert csv.columns == rows.columns and csv.height == rows.height
    assert csv["value"].equals(rows["value"]) and csv["metric"].equals(rows["metric"])
    for layer, row in zip(document["layers"], gains, strict=True):
        want = layer["metrics"]["potential.W+A"]["with_padding"]
        assert row["layer"] == layer["name"] and row["value"] == want["value"], (row, want)
        assert [int(row[part]) for part in ("numerator", "denominator")] == [
            integer(want[part]) for part in ("numerator", "denominator")
        ]
    check_inputs(read["inputs"].to_dicts(), document)


def check_numpy(read, document):
    counts = read["counts"]
    codes, seen = counts["conv1.w.codes"], counts["conv1.w.code_counts"]
    zeros = document["layers"][0]["weights"]["zeros"]
    assert int(seen.sum()) == zeros["denominator"] and int(seen[codes == 0].sum()) == zeros["numerator"]


def check_terminal(program):
    """No bytes of Parquet reach a terminal, and nothing is measured for it."""
    reader, terminal = pty.openpty()
    for command in (["measure", "digits"], ["report", "run.dwm"]):
        command = [program, *command, "--format", "parquet"]
        ended = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, text=True)
        assert ended.returncode == 2 and "give -o FILE or a pipe" in ended.stderr, ended
        through = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        assert through == pathlib.Path("run.parquet").read_bytes(), "a pipe gets the bytes of the file"
    os.set_blocking(reader, False)
    try:
        assert not os.read(reader, 1)
    except BlockingIOError:
        pass


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    commands, *python = snippets()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["PATH"] = f"{program.parent}:{os.environ['PATH']}"
        subprocess.run(["sh", "-eu", "-c", commands], check=True)
        document = json.loads(pathlib.Path("run.json").read_text())
        for text, check in zip(python, (check_pandas, check_polars, check_numpy), strict=True):
            read = {}
            exec(compile(text, "README.md", "exec"), read)
            check(read, document)
        check_terminal(program)
        os.chdir("/")
    print("the README's snippets read what the program writes")


if __name__ == "__main__":
    main()
