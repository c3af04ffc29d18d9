//! From llama.cpp's names of tensors to those of Hugging Face's checkpoints.

use super::metadata::Metadata;
use crate::{Error, Result};

/// `general.architecture` of the files that are read, and which names they have.
const ARCHITECTURES: [(&str, Family); 4] =
    [("llama", Family::Llama), ("qwen2", Family::Llama), ("qwen3", Family::Llama), ("bert", Family::Bert)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Llama,
    Bert,
}

/// Names outside blocks: llama.cpp's, Hugging Face's.
const LLAMA: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];
/// Names in block N, below `blk.N` and `model.layers.N`.
const LLAMA_BLOCK: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];
const BERT: [(&str, &str); 4] = [
    ("token_embd", "embeddings.word_embeddings"),
    ("position_embd", "embeddings.position_embeddings"),
    ("token_types", "embeddings.token_type_embeddings"),
    ("token_embd_norm", "embeddings.LayerNorm"),
];
/// Names in block N, below `blk.N` and `encoder.layer.N`.
const BERT_BLOCK: [(&str, &str); 8] = [
    ("attn_q", "attention.self.query"),
    ("attn_k", "attention.self.key"),
    ("attn_v", "attention.self.value"),
    ("attn_output", "attention.output.dense"),
    ("attn_output_norm", "attention.output.LayerNorm"),
    ("ffn_up", "intermediate.dense"),
    ("ffn_down", "output.dense"),
    ("layer_output_norm", "output.LayerNorm"),
];

/// How the tensors of a file are named and laid out.
#[derive(Debug)]
pub(super) struct Layout {
    family: Family,
    /// Query and key heads, if their rows are stored in pairs.
    heads: Option<(usize, usize)>,
}

impl Layout {
    /// That of the file with `metadata`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another architecture; [`Error::Malformed`] for a field of the wrong type.
    pub fn of(metadata: &Metadata) -> Result<Self> {
        let key = "general.architecture";
        let name = metadata.text(key)?.ok_or_else(|| metadata.wrong(key, "is missing"))?;
        let Some(&(_, family)) = ARCHITECTURES.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = ARCHITECTURES.iter().map(|(known, _)| *known).collect();
            let what = format!("{}: architecture {name}", metadata.file());
            return Err(Error::unsupported(what, format!("read are {}", known.join(", "))));
        };
        if metadata.count(&format!("{name}.expert_count"))?.is_some_and(|experts| experts > 0) {
            let what = format!("{}: a mixture of experts", metadata.file());
            return Err(Error::unsupported(what, "dense networks are read"));
        }
        let mut layout = Self { family, heads: None };
        // The converter turns the two halves of a head of Llama into pairs, of no other architecture.
        if name == "llama" {
            let key = "llama.attention.head_count";
            let heads = metadata.count(key)?.ok_or_else(|| metadata.wrong(key, "is missing"))? as usize;
            let shared = metadata.count("llama.attention.head_count_kv")?.map_or(heads, |count| count as usize);
            layout.heads = Some((heads, shared));
        }
        Ok(layout)
    }

    /// Hugging Face's name of the tensor `name`; the same for one that is not known.
    pub fn renamed(&self, name: &str) -> String {
        let (outside, inside, blocks) = match self.family {
            Family::Llama => (&LLAMA[..], &LLAMA_BLOCK[..], "model.layers"),
            Family::Bert => (&BERT[..], &BERT_BLOCK[..], "encoder.layer"),
        };
        let find = |names: &[(&str, &'static str)], name: &str| {
            names.iter().find(|(known, _)| *known == name).map(|(_, renamed)| *renamed)
        };
        let renamed = || {
            let (path, kind) = name.rsplit_once('.')?;
            match path.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
                Some((number, part)) => Some(format!("{blocks}.{number}.{}.{kind}", find(inside, part)?)),
                None => Some(format!("{}.{kind}", find(outside, path)?)),
            }
        };
        renamed().unwrap_or_else(|| name.to_owned())
    }

    /// Heads of the tensor `name` whose rows are stored in pairs.
    pub fn paired_heads(&self, name: &str) -> Option<usize> {
        let (queries, keys) = self.heads?;
        let part = name.strip_prefix("blk.")?.split_once('.')?.1;
        match part.split_once('.')?.0 {
            "attn_q" => Some(queries),
            "attn_k" => Some(keys),
            _ => None,
        }
    }
}
