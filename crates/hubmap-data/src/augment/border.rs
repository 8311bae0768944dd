//! What lies beyond the edge of an image.

/// The pixel that stands for `position` on a line of `length` pixels mirrored at its first and last pixel,
/// which are not repeated: `dcb|abcd|cba`.
pub(super) const fn reflect(position: i64, length: usize) -> usize {
    if length <= 1 {
        return 0;
    }
    let period = 2 * (length as i64 - 1);
    let folded = position.rem_euclid(period);
    (if folded < length as i64 { folded } else { period - folded }) as usize
}

#[cfg(test)]
mod tests {
    use super::reflect;

    #[test]
    fn mirrors_without_repeating_the_edge() {
        let line = (-7..8).map(|position| reflect(position, 4)).collect::<Vec<_>>();
        assert_eq!(line, [1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
        assert_eq!((reflect(-5, 1), reflect(9, 1)), (0, 0));
    }
}
