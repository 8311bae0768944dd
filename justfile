# Runs what CI runs.
check:
    .ci/run

# The main job end to end.
demo:
    cargo run --release --bin hubmap-demo

# Criterion benches of the hot paths.
bench:
    cargo bench -p hubmap-benches
