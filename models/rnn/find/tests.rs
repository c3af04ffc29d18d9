//! Names and extents of checkpoints, and what is found in them.

use super::*;

fn extents(tensors: &[(&str, &[usize])]) -> Extents {
    tensors.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect()
}

/// Kinds, sizes, embedding and decoder, in words.
fn found(tensors: &[(&str, &[usize])]) -> String {
    let layout = match Layout::find(&extents(tensors), Cell::RnnTanh) {
        Ok(layout) => layout,
        Err(error) => return error,
    };
    let part = |part: &Part| {
        let projection = part.projection.as_ref().map(|(_, outputs)| format!(">{outputs}")).unwrap_or_default();
        let reverse = if part.reverse { "<" } else { "" };
        format!("{reverse}{}{}{projection}", part.cell.name(), part.hidden)
    };
    let layer = |layer: &Vec<Part>| layer.iter().map(part).collect::<String>();
    let layers: Vec<String> = layout.layers.iter().map(layer).collect();
    let Head::Linear { weight, row, classes, .. } = layout.head else { return "another head".into() };
    let decoder = weight.unwrap_or_else(|| format!("tied at {row}"));
    format!("{} {}x{}, {}, {decoder} {classes}", layout.embedding, layout.rows, layout.features, layers.join(" "))
}

#[test]
fn sizes_and_paths_are_read_from_names_and_extents() {
    type Case<'a> = (&'a [(&'a str, &'a [usize])], &'a str);
    let cases: [Case; 15] = [
        (
            &[
                ("a.emb.weight", &[50, 8]),
                ("b.weight_ih_l0", &[24, 8]),
                ("b.weight_hh_l0", &[24, 6]),
                ("b.weight_ih_l1", &[24, 6]),
                ("b.weight_hh_l1", &[24, 6]),
                ("out.weight", &[50, 6]),
                ("out.bias", &[50]),
            ],
            "a.emb.weight 50x8, lstm6 lstm6, out.weight 50",
        ),
        (
            &[
                ("encoder.weight", &[50, 6]),
                ("rnn.weight_ih_l0", &[18, 6]),
                ("rnn.weight_hh_l0", &[18, 6]),
                ("decoder.weight", &[50, 6]),
            ],
            "encoder.weight 50x6, gru6, decoder.weight 50",
        ),
        // A backward direction doubles what the decoder reads.
        (
            &[
                ("e.weight", &[9, 5]),
                ("r.weight_ih_l0", &[6, 5]),
                ("r.weight_hh_l0", &[6, 6]),
                ("r.weight_ih_l0_reverse", &[6, 5]),
                ("r.weight_hh_l0_reverse", &[6, 6]),
                ("d.weight", &[9, 12]),
            ],
            "e.weight 9x5, rnn_tanh6<rnn_tanh6, d.weight 9",
        ),
        (
            &[
                ("e.weight", &[9, 3]),
                ("weight_ih_l0", &[32, 3]),
                ("weight_hh_l0", &[32, 3]),
                ("weight_hr_l0", &[3, 8]),
                ("x.bias", &[9]),
            ],
            "e.weight 9x3, lstm8>3, tied at x 9",
        ),
        (
            &[
                ("decoder.weight", &[9, 4]),
                ("decoder.bias", &[9]),
                ("rnn.weight_ih_l0", &[16, 4]),
                ("rnn.weight_hh_l0", &[16, 4]),
            ],
            "decoder.weight 9x4, lstm4, tied at decoder 9",
        ),
        // A stack of modules, each of sizes of its own.
        (
            &[
                ("e.weight", &[9, 3]),
                ("rnns.0.weight_ih_l0", &[16, 3]),
                ("rnns.0.weight_hh_l0", &[16, 4]),
                ("rnns.10.weight_ih_l0", &[8, 5]),
                ("rnns.10.weight_hh_l0", &[8, 2]),
                ("rnns.2.weight_ih_l0", &[20, 4]),
                ("rnns.2.weight_hh_l0", &[20, 5]),
                ("d.weight", &[9, 2]),
            ],
            "e.weight 9x3, lstm4 lstm5 lstm2, d.weight 9",
        ),
        (
            &[
                ("model/embedding", &[9, 3]),
                ("model/rnn/multi_rnn_cell/cell_0/basic_lstm_cell/kernel", &[7, 16]),
                ("model/rnn/multi_rnn_cell/cell_0/basic_lstm_cell/bias", &[16]),
                ("model/rnn/multi_rnn_cell/cell_1/basic_lstm_cell/kernel", &[8, 16]),
                ("model/rnn/multi_rnn_cell/cell_1/basic_lstm_cell/bias", &[16]),
                ("model/softmax_w", &[4, 9]),
                ("model/softmax_b", &[9]),
            ],
            "model/embedding 9x3, lstm4 lstm4, model/softmax_w 9",
        ),
        (
            &[
                ("embedding", &[4, 4]),
                ("rnn/basic_lstm_cell/weights", &[8, 16]),
                ("rnn/basic_lstm_cell/biases", &[16]),
                ("softmax_w", &[4, 4]),
                ("softmax_b", &[4]),
            ],
            "embedding 4x4, lstm4, softmax_w 4",
        ),
        (
            &[
                ("embedding/embeddings:0", &[9, 3]),
                ("gru/gru_cell/kernel:0", &[3, 12]),
                ("gru/gru_cell/recurrent_kernel:0", &[4, 12]),
                ("gru/gru_cell/bias:0", &[2, 12]),
                ("gru_1/gru_cell_1/kernel:0", &[4, 6]),
                ("gru_1/gru_cell_1/recurrent_kernel:0", &[2, 6]),
                ("gru_1/gru_cell_1/bias:0", &[2, 6]),
                ("dense/kernel:0", &[2, 9]),
                ("dense/bias:0", &[9]),
            ],
            "embedding/embeddings:0 9x3, gru4 gru2, dense/kernel:0 9",
        ),
        (
            &[
                ("embedding/embeddings", &[9, 3]),
                ("gru/kernel", &[3, 12]),
                ("gru/recurrent_kernel", &[4, 12]),
                ("gru/bias", &[12]),
                ("dense/kernel", &[4, 9]),
            ],
            "gru/recurrent_kernel is of a GRU whose candidate reads the product of reset gate and hidden values \
             (reset_after=False)",
        ),
        (
            &[
                ("a.weight", &[9, 6]),
                ("b.weight", &[9, 6]),
                ("rnn.weight_ih_l0", &[18, 6]),
                ("rnn.weight_hh_l0", &[18, 6]),
            ],
            "the embedding could be a.weight or b.weight",
        ),
        (
            &[
                ("e.weight", &[9, 6]),
                ("encoder.weight_ih_l0", &[18, 6]),
                ("encoder.weight_hh_l0", &[18, 6]),
                ("decoder.weight_ih_l0", &[18, 6]),
                ("decoder.weight_hh_l0", &[18, 6]),
            ],
            "its layers could be those of decoder or encoder",
        ),
        (
            &[
                ("e.weight", &[9, 6]),
                ("rnn.weight_ih_l0", &[18, 6]),
                ("rnn.weight_hh_l0", &[18, 6]),
                ("rnn.weight_ih_l2", &[18, 6]),
                ("rnn.weight_hh_l2", &[18, 6]),
            ],
            "layer 1 of rnn is missing",
        ),
        (&[("conv.weight", &[9, 6])], "it has no layer of an LSTM, GRU or RNN"),
        (
            &[("e.weight", &[9, 6]), ("rnn.weight_ih_l0", &[12, 6]), ("rnn.weight_hh_l0", &[12, 6])],
            "rnn.weight_hh_l0 is [12, 6], of no LSTM, GRU or RNN",
        ),
    ];
    for (tensors, want) in cases {
        assert_eq!(found(tensors), want);
    }
}
