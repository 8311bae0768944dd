//! Prints the reference of settings: `cargo run -p hubmap-cli --example settings > docs/reference/settings.md`.
#![expect(clippy::print_stdout, reason = "what it is for")]

fn main() -> anyhow::Result<()> {
    print!("{}", hubmap_cli::settings::settings_page()?);
    Ok(())
}
