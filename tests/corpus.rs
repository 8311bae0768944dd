//! Tests over the corpus of real files.
