//! How passes over `[pixels, channels]` are cut: for threads, and so that inner loops are long.

/// Numbers that one task handles: fits the second-level cache three times. Fixed, so that sums do not depend on
/// the number of threads.
const TASK_LEN: usize = 16 * 1024;
/// Numbers in a block of whole pixels, at least: with few channels the inner loop would be too short.
const BLOCK_LEN: usize = 256;

/// Numbers of a block: whole pixels.
pub(crate) const fn block_len(channels: usize) -> usize {
    BLOCK_LEN.div_ceil(channels) * channels
}

/// Numbers of a task: whole blocks.
pub(crate) const fn task_len(channels: usize) -> usize {
    let block = block_len(channels);
    TASK_LEN.div_ceil(block) * block
}

/// One number per channel, repeated for every pixel of a block.
pub(crate) fn for_block(values: &[f32]) -> Vec<f32> {
    values.repeat(block_len(values.len()) / values.len())
}

/// The sums of a block's positions that belong to the same channel.
pub(crate) fn per_channel(sums: &[f32], channels: usize) -> impl Iterator<Item = f64> {
    (0..channels).map(move |channel| sums.iter().skip(channel).step_by(channels).map(|&s| f64::from(s)).sum())
}
