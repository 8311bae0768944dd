//! Nothing here: this package exists for its test targets, `tests.rs` and `corpus.rs`.
