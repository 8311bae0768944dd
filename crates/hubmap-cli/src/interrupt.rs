//! Ctrl-C and SIGTERM: the first asks the work to stop, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code of work that was interrupted and is safe to run again (`EX_TEMPFAIL`).
pub(crate) const EXIT_CODE: u8 = 75;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Starts listening.
pub(crate) fn listen() {
    let heard = ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            #[expect(clippy::exit, reason = "the user asked a second time and will not wait")]
            std::process::exit(i32::from(EXIT_CODE));
        }
    });
    if let Err(error) = heard {
        tracing::debug!("Ctrl-C ends the process at once: {error}");
    }
}

/// Whether Ctrl-C or SIGTERM has asked the work to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
