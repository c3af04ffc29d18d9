//! CiMLoop's histograms: centred on zero, and of what was counted.

use deadweight::measure::Settings;

use super::{counting, files, measured, written};

#[test]
fn histograms_are_centred_on_zero_and_sum_to_one() {
    let measurement = measured(&Settings { format: "int8".parse().unwrap(), ..counting() });
    let written = written("cimloop", &measurement).unwrap();
    let files = files(&written);
    assert_eq!(
        files.keys().copied().collect::<Vec<_>>(),
        ["00.yaml", "01.yaml", "02.yaml", "03.yaml", "04.yaml", "06.yaml", "notes.txt"]
    );
    let grouped = files["02.yaml"];
    let instance =
        "instance: {C: 2, M: 3, G: 4, P: 6, Q: 5, R: 3, S: 3, Wstride: 2, Hstride: 2, Wdilation: 1, Hdilation: 1}";
    assert!(grouped.starts_with("{{include_text('../problem_base.yaml')}}\nproblem:\n  <<<: *problem_base\n"));
    assert!(
        grouped.contains(instance)
            && grouped.contains("dnn_name: \"all/kinds\"")
            && grouped.contains("notes: \"grouped\"")
    );
    for (index, file) in [(0, files["00.yaml"]), (2, grouped), (6, files["06.yaml"])] {
        let tally = &measurement.layers[index].tally;
        let outputs = &tally.outputs.as_ref().unwrap().values;
        for (name, values) in
            [("Inputs", &tally.activations.values), ("Weights", &tally.weights.values), ("Outputs", outputs)]
        {
            let line = file.lines().find_map(|line| line.strip_prefix(&format!("    {name}: ["))).unwrap();
            let bins: Vec<f64> = line.trim_end_matches(']').split(',').map(|bin| bin.parse().unwrap()).collect();
            assert_eq!(bins.len(), 255, "{name}");
            assert!((bins.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{name}");
            let lowest = if name == "Weights" { tally.lowest[1] } else { -(values.codes.len() as i32 / 2) };
            let lowest = if values.codes.len() == 256 { 0 } else { lowest };
            let zeros = values.codes[-lowest as usize];
            assert_eq!(bins[127], zeros as f64 / values.elements as f64, "{index} {name}");
        }
    }
}
