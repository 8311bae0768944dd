//! The error that ends all stages of a prediction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use anyhow::{Error, Result};
use hubmap_data::panic_error;

/// The first error of several threads; the others are consequences of it.
#[derive(Debug, Default)]
pub(crate) struct Failure(Mutex<Option<Error>>);

impl Failure {
    /// Runs a stage; its error or panic is kept if no other came before.
    ///
    /// A stage whose neighbour has gone returns `Ok`: the neighbour's reason is here by then.
    pub(crate) fn run(&self, stage: &str, work: impl FnOnce() -> Result<()>) {
        // Nothing that a panic could leave half done is used again: the prediction ends.
        let outcome = catch_unwind(AssertUnwindSafe(work));
        let outcome = outcome
            .unwrap_or_else(|cause| Err(panic_error(&format!("the {stage} panicked"), cause.as_ref())));
        if let Err(error) = outcome {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    /// Whether a stage has failed.
    pub(crate) fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The first error, if there was one.
    pub(crate) fn into_result(self) -> Result<()> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use hubmap_data::Fault;

    use super::*;

    #[test]
    fn the_first_error_stays() {
        let failure = Failure::default();
        failure.run("reader", || Ok(()));
        assert!(!failure.is_set());
        failure.run("network", || panic!("{} is lost", "device 1"));
        assert!(failure.is_set());
        failure.run("reader", || Err(anyhow!("a consequence")));
        failure.run("reader", || Ok(()));
        assert_eq!(failure.into_result().unwrap_err().to_string(), "the network panicked: device 1 is lost");
        assert!(Failure::default().into_result().is_ok());
    }

    #[test]
    fn a_device_without_memory_is_told_from_others() {
        let failure = Failure::default();
        failure.run("network", || panic!("CUDA out of memory. Tried to allocate 2.00 GiB"));
        assert_eq!(Fault::of(&failure.into_result().unwrap_err()), Fault::Memory);
    }
}
