"""The transformers that the peers run: MiniLM by its folder, SmolLM2 by its GGUF file; both read from disk, not made here.

Hidden states of MiniLM for 128 tokens; logits of SmolLM2 for 128 tokens at once (prefill) and for each of STEPS tokens after
them, one by one (decode). `floats.gguf` holds the numbers that the 4-bit codes of SmolLM2 stand for, as 32-bit floats.
"""

import json
import shutil

import numpy as np

TOKENS, STEPS = 128, 16
JOBS = {"minilm": (TOKENS, 0), "smollm2-prefill": (TOKENS, 0), "smollm2-decode": (TOKENS, STEPS)}


def is_text(job):
    return job.split("@")[0] in JOBS


def export(folder, job, minilm, smollm2):
    """Writes the facts of `job` and what its engines read. Tokens are those of inputs.py."""
    name, batch = job.split("@")
    tokens, steps = JOBS[name]
    facts = {"shape": [int(batch), tokens], "steps": steps}
    if name == "minilm":
        facts["model"] = "minilm"
        copy_minilm(minilm, folder / "minilm")
        export_minilm(folder / "minilm", folder / f"{job}.onnx", facts["shape"])
    else:
        facts["model"], facts["floats"] = "smollm2.gguf", "floats.gguf"
        if not (folder / "floats.gguf").exists():
            shutil.copy(smollm2, folder / "smollm2.gguf")
            to_floats(folder / "smollm2.gguf", folder / "floats.gguf")
        facts["words"] = words(folder / "smollm2.gguf")
    (folder / f"{job}.json").write_text(json.dumps(facts))
    print(job, facts, flush=True)


def copy_minilm(source, to):
    """Its weights and configuration without the modules that pool hidden states."""
    to.mkdir(exist_ok=True)
    for file in ("config.json", "model.safetensors"):
        shutil.copy(source / file, to / file)


def export_minilm(source, path, shape):
    """An ONNX file of input `x` and output `y`, attention written out as products and a softmax."""
    import torch
    from transformers import BertModel

    net = BertModel.from_pretrained(source, add_pooling_layer=False, attn_implementation="eager").eval()

    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x).last_hidden_state

    x = torch.zeros(shape, dtype=torch.int64)
    torch.onnx.export(Hidden(), (x,), path, dynamo=False, opset_version=17, input_names=["x"], output_names=["y"])


def words(path):
    """Rows of the embedding of a GGUF file."""
    from gguf import GGUFReader

    return next(int(tensor.shape[1]) for tensor in GGUFReader(path).tensors if tensor.name == "token_embd.weight")


def to_floats(source, to):
    """A GGUF file with all tensors of `source` as 32-bit floats, and its metadata."""
    from gguf import GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType, dequantize

    reader = GGUFReader(source)
    writer = GGUFWriter(to, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        kind, inner = field.types[0], field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        if key == "general.file_type":
            writer.add_file_type(LlamaFileType.ALL_F32)
        elif not key.startswith("GGUF.") and key != "general.architecture":
            writer.add_key_value(key, field.contents(), kind, sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_runs(path, floats, tokens, steps, threads):
    """llama.cpp's version, its runs, and what puts it where each run begins. Logits are asked for of every token.

    With `floats` keys and values are kept as 32-bit floats too, else as it keeps them by default.
    """
    import llama_cpp
    from llama_cpp import llama_cpp as c

    kind = {"type_k": c.GGML_TYPE_F32, "type_v": c.GGML_TYPE_F32} if floats else {}
    lengths = {"n_ctx": 256, "n_batch": 256, "n_ubatch": 256, "n_threads": threads, "n_threads_batch": threads}
    llama = llama_cpp.Llama(str(path), logits_all=True, verbose=False, **lengths, **kind)
    words = llama.n_vocab()
    memory, batch = c.llama_get_memory(llama.ctx), c.llama_batch_init(len(tokens), 0, 1)

    def read(ids, first):
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, first + i, 1, 0, True
        # By way of `llama`, which frees its memory when nothing refers to it.
        context = llama.ctx
        if c.llama_decode(context, batch) != 0:
            raise RuntimeError("llama_decode failed")
        return np.ctypeslib.as_array(c.llama_get_logits(context), (len(ids), words))

    prompt, following = tokens[: len(tokens) - steps], tokens[len(tokens) - steps :]
    if not steps:
        return f"llama-cpp-python {llama_cpp.__version__}", lambda: read(prompt, 0), lambda: c.llama_memory_clear(memory, True)
    read(prompt, 0)
    run = lambda: np.stack([read([token], len(prompt) + i)[0].copy() for i, token in enumerate(following)])
    return f"llama-cpp-python {llama_cpp.__version__}", run, lambda: c.llama_memory_seq_rm(memory, 0, len(prompt), -1)
