# Runs what CI runs.
check:
    .ci/run

# The main job end to end.
demo:
    cargo run --release --bin hubmap-demo

# The documentation as a website in target/book; needs mdBook.
book:
    mdbook build docs

# What a newcomer does, by the pages, with the executables of the debug build.
newcomer:
    python3 tests/interop/newcomer.py target/debug

# Criterion benches of the hot paths.
bench:
    cargo bench -p hubmap-benches
