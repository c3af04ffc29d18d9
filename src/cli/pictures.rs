//! Saving pictures: PNG files that appear when they are complete.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::out;
use crate::input::Pixels;
use crate::{Error, Result};

/// A picture to save.
pub(super) enum Picture {
    /// An image.
    Image(Pixels),
    /// The class of each pixel, `[H, W]`, in the colours of Pascal VOC.
    Classes {
        /// Rows and columns.
        size: [usize; 2],
        /// Classes.
        classes: Vec<u8>,
    },
}

/// The colour of a class in the Pascal VOC palette: the bits of the class are distributed to red, green and blue, from the
/// top bit on.
fn colour(class: u8) -> [u8; 3] {
    let mut colour = [0; 3];
    for bit in 0..8 {
        colour[bit % 3] |= (class >> bit & 1) << (7 - bit / 3);
    }
    colour
}

impl Picture {
    /// `image` (RGB) blended half and half with its class colours; class 0 leaves it unchanged.
    pub(super) fn overlay(mut image: Pixels, classes: &[u8]) -> Self {
        for (pixel, &class) in image.data.chunks_exact_mut(3).zip(classes).filter(|(_, class)| **class != 0) {
            let mix = |(value, colour): (&mut u8, u8)| *value = ((u16::from(*value) + u16::from(colour)) / 2) as u8;
            pixel.iter_mut().zip(colour(class)).for_each(mix);
        }
        Self::Image(image)
    }

    /// It as a PNG file.
    pub(super) fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let (size, data) = match self {
            Self::Image(image) => ([image.h, image.w], &image.data),
            Self::Classes { size, classes } => (*size, classes),
        };
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, size[1] as u32, size[0] as u32);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_color(match self {
            Self::Image(image) if image.c == 3 => png::ColorType::Rgb,
            Self::Image(_) => png::ColorType::Grayscale,
            Self::Classes { .. } => png::ColorType::Indexed,
        });
        if let Self::Classes { .. } = self {
            encoder.set_palette((0..=255).flat_map(colour).collect::<Vec<u8>>());
        }
        let mut writer = encoder.write_header()?;
        writer.write_image_data(data)?;
        writer.finish()?;
        Ok(bytes)
    }
}

/// The pictures of a run.
pub(super) struct Pictures {
    folder: PathBuf,
    suffix: String,
    taken: BTreeSet<String>,
    /// Files that may not be replaced, by their full paths.
    inputs: BTreeSet<PathBuf>,
    /// Number of replaced files, and the first of them.
    replaced: (usize, PathBuf),
}

impl Drop for Pictures {
    /// Logs what was replaced, however the run ends.
    fn drop(&mut self) {
        match &self.replaced {
            (0, _) => {}
            (1, path) => tracing::warn!("{}: was there before and is replaced", path.display()),
            (more, path) => tracing::warn!("{more} files, as {}, were there before and are replaced", path.display()),
        }
    }
}

impl Pictures {
    /// Pictures of the network `card` in `folder` (by default the current directory), which must exist if `will_be` says that
    /// there will be any. None of the files `inputs` is replaced.
    pub(super) fn new(folder: Option<&Path>, card: &str, will_be: bool, inputs: &[&Path]) -> Result<Self> {
        let folder = folder.unwrap_or(Path::new("."));
        if will_be && !folder.is_dir() {
            return Err(Error::invalid(format!("--save {}", folder.display()), "is not an existing directory"));
        }
        Ok(Self {
            folder: folder.to_owned(),
            suffix: card.to_owned(),
            taken: BTreeSet::new(),
            inputs: inputs.iter().filter_map(|path| path.canonicalize().ok()).collect(),
            replaced: (0, PathBuf::new()),
        })
    }

    /// Saves the answer to input `id`; returns the path.
    pub(super) fn save(&mut self, id: &str, picture: &Picture) -> Result<PathBuf> {
        let name = self.name(id);
        let path = self.folder.join(name);
        let there = path.canonicalize().ok();
        if there.as_ref().is_some_and(|there| self.inputs.contains(there)) {
            let detail =
                format!("is an input of this run, and the answer to {id} would replace it; give another --save");
            return Err(Error::invalid(path.display().to_string(), detail));
        }
        let bytes = picture.png().map_err(|error| Error::io(&path, std::io::Error::other(error)))?;
        let mut file = out::temporary(&self.folder)?;
        file.write_all(&bytes).map_err(|error| Error::io(&path, error))?;
        out::persist(file, &path)?;
        if there.is_some() {
            if self.replaced.0 == 0 {
                self.replaced.1.clone_from(&path);
            }
            self.replaced.0 += 1;
        }
        Ok(path)
    }

    /// `photo-dncnn_gray.png` for `some/photo.jpg`, `stack-3-dncnn_gray.png` for `stack.safetensors[3]`; with a number if
    /// that name was used before in this run.
    fn name(&mut self, id: &str) -> String {
        let (file, index) = match id.strip_suffix(']').and_then(|id| id.rsplit_once('[')) {
            Some((file, index)) if index.bytes().all(|digit| digit.is_ascii_digit()) => (file, format!("-{index}")),
            _ => (id, String::new()),
        };
        let stem = Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{stem}{index}-{}", self.suffix);
        let numbered = (2..).map(|number| format!("{name}-{number}.png"));
        let free = std::iter::once(format!("{name}.png")).chain(numbered).find(|name| !self.taken.contains(name));
        let free = free.expect("there are more numbers than names");
        self.taken.insert(free.clone());
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_pascal_voc() {
        let known = [(0, [0, 0, 0]), (1, [128, 0, 0]), (7, [128, 128, 128]), (15, [192, 128, 128]), (20, [0, 64, 128])];
        for (class, want) in known {
            assert_eq!(colour(class), want, "class {class}");
        }
        assert_eq!(colour(255), [224, 224, 192]);
    }

    #[test]
    fn pictures_are_saved_whole_under_names_of_their_inputs() {
        let folder = tempfile::tempdir().unwrap();
        let mut pictures = Pictures::new(Some(folder.path()), "net", true, &[]).unwrap();
        let classes = Picture::Classes { size: [1, 2], classes: vec![0, 15] };
        let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(name(pictures.save("a/cat.jpg", &classes).unwrap()), "cat-net.png");
        assert_eq!(name(pictures.save("b/cat.png", &classes).unwrap()), "cat-net-2.png");
        assert_eq!(name(pictures.save("x.safetensors[7]", &classes).unwrap()), "x-7-net.png");
        let image = image::open(folder.path().join("cat-net.png")).unwrap().into_rgb8();
        assert_eq!(image.into_raw(), [0, 0, 0, 192, 128, 128]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
        assert_eq!(pictures.replaced.0, 0);
        // Another run: existing files are replaced and counted, except the inputs of that run.
        let input = folder.path().join("cat-net-2.png");
        let mut again = Pictures::new(Some(folder.path()), "net", true, &[&input]).unwrap();
        again.save("cat.jpg", &classes).unwrap();
        assert_eq!(again.replaced, (1, folder.path().join("cat-net.png")));
        let error = again.save("c/cat.jpg", &classes).unwrap_err();
        assert!(error.to_string().contains("cat-net-2.png: is an input of this run"), "{error}");
        let error = Pictures::new(Some(Path::new("/nowhere/at/all")), "net", true, &[]).err().unwrap();
        assert_eq!(error.exit_code(), 2);
        assert!(Pictures::new(Some(Path::new("/nowhere/at/all")), "net", false, &[]).is_ok());
    }

    #[test]
    fn an_overlay_leaves_the_background() {
        let image = Pixels { h: 1, w: 2, c: 3, data: vec![100; 6] };
        let Picture::Image(mixed) = Picture::overlay(image, &[0, 1]) else { panic!("an overlay is an image") };
        assert_eq!(mixed.data, [100, 100, 100, 114, 50, 50]);
    }
}
