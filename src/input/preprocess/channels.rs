//! Preprocessing of networks that read another number of channels than its description has.

use super::{InputKind, Preprocess};

impl Preprocess {
    /// The same for `channels` channels, 1 (grey, with the mean of all levels) or 3 (colour, with the same level for each);
    /// `None` for any other number, and for inputs that are no images.
    pub fn with_channels(&self, channels: usize) -> Option<Self> {
        if !matches!(channels, 1 | 3) || self.kind != InputKind::Images {
            return None;
        }
        let levels = |values: &[f64]| vec![values.iter().sum::<f64>() / values.len() as f64; channels];
        let (mean, std) = (levels(&self.mean), levels(&self.std));
        let fill = if self.fill.is_empty() { vec![] } else { vec![self.fill[0]; channels] };
        Some(Self { channels, mean, std, fill, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_averaged_or_repeated() {
        let table =
            "channels = 3\nsize = [8, 8]\nmean = [0.25, 0.5, 0.75]\nstd = [0.25, 0.25, 0.25]\n".parse().unwrap();
        let colour = Preprocess::from_table("mine", &table).unwrap();
        let grey = colour.with_channels(1).unwrap();
        assert_eq!((grey.channels(), &grey.mean[..], &grey.std[..]), (1, &[0.5][..], &[0.25][..]));
        assert_eq!(grey.with_channels(3).unwrap().mean, [0.5; 3]);
        assert!(colour.with_channels(4).is_none() && Preprocess::numbers(4).with_channels(3).is_none());
    }
}
