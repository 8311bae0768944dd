//! Nothing here: this package exists for its bench targets.
