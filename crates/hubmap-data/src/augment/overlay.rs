//! Shapes pasted over an image with soft edges.

/// A colour over another one, `part` of it from 0 to 1.
pub(super) fn blend(below: [u8; 3], above: [u8; 3], part: f32) -> [u8; 3] {
    std::array::from_fn(|c| {
        let (below, above) = (f32::from(below[c]), f32::from(above[c]));
        (below + (above - below) * part + 0.5) as u8
    })
}

/// 0 up to `start`, 1 from `end`, smooth in between; `start` may be the larger one.
pub(super) fn smooth_step(start: f32, end: f32, value: f32) -> f32 {
    let t = ((value - start) / (end - start)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// The pixels of a line of `length` pixels from `min` to `max`.
pub(super) fn span(min: f32, max: f32, length: usize) -> std::ops::Range<usize> {
    // A cast of a negative number to an unsigned one gives 0.
    let start = (min.floor() as usize).min(length);
    start..(max.ceil() as usize).saturating_add(1).clamp(start, length.max(start))
}
