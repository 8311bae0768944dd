//! Loops compiled for the instructions of the processor that runs them.

/// Runs `work`, compiled several times over: for plain processors and for those with wider vectors.
///
/// What `work` calls takes part as far as it is inlined. Results do not depend on the choice: no operation of ours
/// is reordered or fused by it.
pub(crate) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
