#!/bin/sh
# run.sh DIR: installs the peers into DIR, exports the networks, checks that outputs agree, times all engines in one
# interleaved run, and writes DIR/table.md and, of the slowest layers, DIR/bounds.md: what benches/RESULTS.md quotes. Needs
# python3, cargo and package registries; takes about an hour.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
dir=$(cd "$1" && pwd)
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --retries 1 -r "$here/requirements.txt"
cargo build --release --locked --manifest-path "$here/../../Cargo.toml" --example peer_worker --bin deadweight
cargo build --release --locked --manifest-path "$here/rust/Cargo.toml" --target-dir "$dir/rust"
small=resnet18@1,resnet50@1,mobilenetv2@1,mobilenetv3@1
texts=lstm650@1,lstm650@20,lstm1500@1,lstm1500@20
batched=resnet18@8,resnet50@8,mobilenetv2@8,mobilenetv3@8
large=deeplab-mobilenetv2@1,deeplab-resnet50@1,dncnn@1
int8=mobilenetv2-int8@1,mobilenetv2-int8@8
"$dir/venv/bin/python" "$here/export.py" "$dir" $(echo "$small,$texts,$batched,$large,$int8" | tr , ' ')
time() {
    "$dir/venv/bin/python" "$here/peers.py" --dir "$dir" --out "$dir/figures.json" --rust "$dir/rust/release" "$@"
}
ours=deadweight-off,deadweight-values,deadweight-full
peers=onnxruntime,openvino,torch,candle,tract,rten
time --jobs "$small" --engines $ours,$peers,torch-hooks,torch-compile --rounds 5
time --jobs "$texts" --engines $ours,$peers,torch-hooks --rounds 5
time --jobs "$batched" --engines $ours,$peers --rounds 5
time --jobs "$large" --engines $ours,$peers --rounds 3
time --jobs "$int8" --engines $ours,onnxruntime,openvino --rounds 5
"$dir/venv/bin/python" "$here/report.py" "$dir/figures.json" "$dir/table.md"
"$dir/venv/bin/python" "$here/bounds.py" "$dir" "$dir/bounds.md"
