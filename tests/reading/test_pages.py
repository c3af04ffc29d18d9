"""Runs what the tutorials show in Python, and the commands on files that it wrote: python test_pages.py DEADWEIGHT

A block of Python is run, and what it prints is the block of text behind it, if there is one. A block of `console` shows commands
and what they print. The commands in blocks of text that do not need Python are run by tests/pages.rs, and here for the files
that they write.
"""

import contextlib
import io
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(command, program):
    assert command.startswith("$ deadweight "), command
    words = shlex.split(command)[2:]
    return subprocess.run([program, *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def check(page, program):
    """Runs the blocks of a page in their order; says how many were compared."""
    blocks = re.findall(r"```(\w+)\n(.*?)```\n", page.read_text(), re.DOTALL)
    compared = 0
    for number, (kind, text) in enumerate(blocks):
        if kind == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(text, str(page), "exec"), {})
            behind = blocks[number + 1] if number + 1 < len(blocks) else ("", "")
            if printed.getvalue():
                assert behind == ("text", printed.getvalue()), f"{page}: printed\n{printed.getvalue()}\nshown\n{behind[1]}"
                compared += 1
        for command in re.findall(r"^\$ .*", text, re.MULTILINE):
            writes = " -o " in command
            if kind == "console" or kind == "text" and writes:
                printed = run(command, program)
                shown = text.split(command + "\n", 1)[1].split("\n$ ")[0]
                assert kind == "text" or printed == shown, f"{page}: {command}\nprinted\n{printed}\nshown\n{shown}"
                compared += kind == "console"
    return compared


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name, count in [("architect", 1), ("pruner", 3)]:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            os.symlink(ROOT / "models", "models")
            compared = check(ROOT / "docs" / "tutorials" / f"{name}.md", program)
            assert compared == count, f"{name}: {compared} compared"
            os.chdir("/")
    print("the tutorials' Python and the program print what the pages show")


if __name__ == "__main__":
    main()
