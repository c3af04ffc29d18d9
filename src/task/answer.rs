//! Outputs that are images: separating the image from its padding.

/// The first rows and columns, `size`, of a `[C, H, W]` image.
pub fn crop<T: Copy>(image: &[T], [_, h, w]: [usize; 3], [rows, columns]: [usize; 2]) -> Vec<T> {
    if [h, w] == [rows, columns] {
        return image.to_vec();
    }
    let planes = image.chunks(h * w);
    planes.flat_map(|plane| plane.chunks(w).take(rows).flat_map(|row| &row[..columns])).copied().collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_frame_is_cut_off() {
        let image: Vec<u8> = (0..12).collect();
        assert_eq!(super::crop(&image, [2, 2, 3], [1, 2]), [0, 1, 6, 7]);
        assert_eq!(super::crop(&image, [2, 2, 3], [2, 3]), image);
    }
}
