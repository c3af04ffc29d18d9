#!/bin/sh
# run.sh DIR [all|transformers]: installs the peers into DIR, exports the networks, checks that outputs agree, times all engines
# in one interleaved run, and writes DIR/table.md and, of the slowest layers, DIR/bounds.md: what benches/RESULTS.md quotes. Needs
# python3, cargo and package registries, for llama.cpp a C++ compiler; takes about an hour.
#
# Of transformers it writes DIR/transformers.md and the table in benches/RESULTS.md; they take ten minutes once the peers are
# built. They are read from MINILM, a folder of all-MiniLM-L6-v2, and SMOLLM2, a file SmolLM2-135M-Instruct.Q4_1.gguf; `all` leaves
# them out where these are not set.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
which=${2:-all}
[ "$which" = all ] || [ "$which" = transformers ] || { echo "run.sh DIR [all|transformers]" >&2; exit 2; }
[ "$which" = all ] || : "${MINILM:?a folder of all-MiniLM-L6-v2}" "${SMOLLM2:?a file SmolLM2-135M-Instruct.Q4_1.gguf}"
mkdir -p "$1"
dir=$(cd "$1" && pwd)
[ -x "$dir/venv/bin/python" ] || python3 -m venv "$dir/venv"
CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF" "$dir/venv/bin/pip" install --quiet --retries 1 -r "$here/requirements.txt"
cargo build --release --locked --manifest-path "$here/../../Cargo.toml" --example peer_worker --bin deadweight
rust() {
    cargo build --release --locked --manifest-path "$here/rust/Cargo.toml" --target-dir "$dir/rust" "$@"
}
export_networks() {
    "$dir/venv/bin/python" "$here/export.py" "$dir" $(echo "$1" | tr , ' ')
}
figures=figures.json
time() {
    "$dir/venv/bin/python" "$here/peers.py" --dir "$dir" --out "$dir/$figures" --rust "$dir/rust/release" "$@"
}
ours=deadweight-off,deadweight-terms,deadweight-full
if [ "$which" = all ]; then
    rust
    small=resnet18@1,resnet50@1,mobilenetv2@1,mobilenetv3@1
    texts=lstm650@1,lstm650@20,lstm1500@1,lstm1500@20
    batched=resnet18@8,resnet50@8,mobilenetv2@8,mobilenetv3@8
    large=deeplab-mobilenetv2@1,deeplab-resnet50@1,dncnn@1
    int8=mobilenetv2-int8@1,mobilenetv2-int8@8
    export_networks "$small,$texts,$batched,$large,$int8"
    peers=onnxruntime,openvino,torch,candle,tract,rten
    time --jobs "$small" --engines $ours,$peers,torch-hooks,torch-compile --rounds 5
    time --jobs "$texts" --engines $ours,$peers,torch-hooks --rounds 5
    time --jobs "$batched" --engines $ours,onnxruntime,openvino,torch,rten --rounds 5
    time --jobs "$large" --engines $ours,onnxruntime,openvino,torch,rten --rounds 3
    time --jobs "$int8" --engines $ours,onnxruntime,openvino --rounds 5
    "$dir/venv/bin/python" "$here/report.py" "$dir/figures.json" "$dir/table.md"
    "$dir/venv/bin/python" "$here/bounds.py" "$dir" "$dir/bounds.md"
fi
if [ -n "${MINILM:-}" ] && [ -n "${SMOLLM2:-}" ]; then
    rust --no-default-features --features candle --bin candle
    export_networks minilm@1,minilm@8,smollm2-prefill@1,smollm2-decode@1
    figures=transformers.json
    llamas=llama-f32,llama,candle-llama-f32,candle-llama
    rounds=${ROUNDS:-7}
    time --jobs minilm@1,minilm@8 --engines $ours,onnxruntime,openvino,candle-bert --rounds "$rounds"
    time --jobs smollm2-prefill@1 --engines $ours,$llamas --rounds "$rounds"
    time --jobs smollm2-decode@1 --engines deadweight-off,$llamas --rounds "$rounds"
    "$dir/venv/bin/python" "$here/report.py" "$dir/transformers.json" "$dir/transformers.md" "$here/../RESULTS.md"
fi
