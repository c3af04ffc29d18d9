//! Token inputs: windows, lines and paragraphs, and their targets.

use super::*;

#[test]
fn tokens_outside_the_vocabulary_are_errors_with_their_line_for_every_split() {
    let vocabulary = Vocabulary::parse("v.json", r#"{"a": 0, "b": 1, "\n": 2}"#).unwrap();
    let cuts = [
        Cut::Streams { streams: 1, steps: 2 },
        Cut::Windows { length: 2, mark: "b".into() },
        Cut::Contexts { length: 2, stride: 2, field: None },
        Cut::Lines { begin: None, end: None },
    ];
    for cut in cuts {
        let texts = [("t.txt".to_owned(), "ab\n\nba\na?\n".to_owned())];
        let error = TokenInputs::new(&texts, &vocabulary, &cut).err().unwrap().to_string();
        assert!(error.starts_with("t.txt: line 4: \"?\""), "{cut:?}: {error}");
    }
}

fn cut(text: &str, cut: &Cut) -> TokenInputs {
    let vocabulary = Vocabulary::parse("v.json", r#"{"a": 0, "b": 1, "\n": 2}"#).unwrap();
    TokenInputs::new(&[("t.txt".to_owned(), text.to_owned())], &vocabulary, cut).unwrap()
}

/// Values of each input, and numbers of the tokens that it predicts; what is not scored as `None`.
fn samples(inputs: &TokenInputs) -> Vec<(Vec<f32>, Vec<Option<u32>>)> {
    let scored = |token: &Token| (token.id != Token::UNSCORED).then_some(token.id);
    let truth = |truth| match truth {
        Some(Truth::Tokens(tokens)) => tokens.iter().map(scored).collect(),
        _ => vec![],
    };
    (0..inputs.len()).map(|index| inputs.sample(index)).map(|sample| (sample.values, truth(sample.truth))).collect()
}

#[test]
fn windows_predict_each_token_once() {
    let of = |length, stride| samples(&cut("abbab", &Cut::Contexts { length, stride, field: None }));
    let some = |ids: &[u32]| ids.iter().map(|&id| Some(id)).collect::<Vec<_>>();
    // The last token alone predicts nothing.
    let [first, second] = [(vec![0.0, 1.0], some(&[1])), (vec![1.0, 0.0], some(&[0]))];
    assert_eq!(of(2, 2), [first, second]);
    let whole = [(vec![0.0, 1.0, 1.0, 0.0, 1.0], some(&[1, 1, 0, 1]))];
    assert_eq!((of(5, 5), of(9, 1)), (whole.to_vec(), whole.to_vec()));
    let second = (vec![1.0, 1.0, 0.0], vec![None, Some(0)]);
    let third = (vec![1.0, 0.0, 1.0], vec![None, Some(1)]);
    assert_eq!(of(3, 1), [(vec![0.0, 1.0, 1.0], some(&[1, 1])), second, third]);
    // However windows overlap, tokens are scored once, in order.
    for (length, stride) in [(4, 3), (3, 2), (4, 2), (5, 4)] {
        let scored: Vec<u32> = of(length, stride).into_iter().flat_map(|(_, truth)| truth).flatten().collect();
        assert_eq!(scored, [1, 1, 0, 1], "{length} {stride}");
    }
}

#[test]
fn lines_and_paragraphs_are_inputs_with_their_places() {
    let of = |split, length, predicts| {
        cut("ab\nb\n\naab\n", &Cut::Texts { split, length, field: None, predicts, labels: None })
    };
    let lines = of(Split::Line, Some(2), false);
    assert_eq!(samples(&lines), [(vec![0.0, 1.0], vec![]), (vec![1.0], vec![]), (vec![0.0, 0.0], vec![])]);
    assert_eq!((lines.name(2), lines.longest()), ("t.txt:4".into(), Some(("t.txt:1".into(), 2))));
    let paragraphs = of(Split::Paragraph, None, true);
    let want =
        [(vec![0.0, 1.0, 2.0, 1.0], vec![Some(1), Some(2), Some(1)]), (vec![0.0, 0.0, 1.0], vec![Some(0), Some(1)])];
    assert_eq!(samples(&paragraphs), want);
    assert_eq!((paragraphs.streams, paragraphs.together), (None, None));
}
