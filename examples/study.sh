#!/bin/sh
# Measures the networks of docs/results.md and writes that page anew: sh examples/study.sh ASSETS FETCHED OUT
#
# ASSETS is the folder that DEADWEIGHT_ASSETS names, FETCHED that of DEADWEIGHT_FETCHED; OUT gets the counts (a file a run, so that a
# study that was stopped goes on where it was), the pages, their figures and the report of all runs. $DEADWEIGHT is the program, by
# default the release build of this folder; $PYTHON a Python of at least 3.11 with numpy, by default python3.
set -eu
if [ $# -ne 3 ]; then
    echo "usage: sh examples/study.sh ASSETS FETCHED OUT" >&2
    exit 2
fi
top=$(cd "$(dirname "$0")/.." && pwd)
if [ -z "${DEADWEIGHT:-}" ]; then
    (cd "$top" && cargo build --release --quiet)
    DEADWEIGHT=${CARGO_TARGET_DIR:-$top/target}/release/deadweight
fi
exec "${PYTHON:-python3}" -B "$top/examples/study/study.py" --deadweight "$DEADWEIGHT" --assets "$1" --fetched "$2" --out "$3"
