//! What `--generate` prints: man page, completions of shells, reference, settings.

mod examples;
mod man;

use clap::builder::Command;
use clap::{Parser, ValueEnum};
use clap_complete::Shell;

use crate::config::BASE_CONFIG;

/// Columns of the help in the reference.
const REFERENCE_COLUMNS: usize = 100;

/// What an executable can print about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Generate {
    /// The manual page, for a folder such as /usr/local/share/man/man1
    Man,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
    /// Completions for Elvish
    Elvish,
    /// Completions for PowerShell
    #[value(name = "powershell")]
    PowerShell,
    /// The help of every subcommand as Markdown
    Markdown,
    /// The built-in settings: every key with its default and what it means
    Settings,
    /// The examples of the help, each of which is parsed first
    #[value(hide = true)]
    Examples,
}

impl Generate {
    /// The text, for the command line of `A`.
    ///
    /// # Errors
    ///
    /// An example of the help is wrong: the text says which, and why.
    pub(crate) fn text<A: Parser>(self, command: Command) -> Result<String, String> {
        let shell = match self {
            Self::Man => return Ok(man::page(command)),
            Self::Markdown => return Ok(markdown(command)),
            Self::Settings => return Ok(BASE_CONFIG.to_owned()),
            Self::Examples => return examples::checked::<A>(command),
            Self::Bash => Shell::Bash,
            Self::Zsh => Shell::Zsh,
            Self::Fish => Shell::Fish,
            Self::Elvish => Shell::Elvish,
            Self::PowerShell => Shell::PowerShell,
        };
        let (mut command, mut script) = (command, Vec::new());
        let name = command.get_name().to_owned();
        clap_complete::generate(shell, &mut command, name, &mut script);
        Ok(String::from_utf8_lossy(&script).into_owned())
    }
}

/// The help of a command and of its subcommands.
fn markdown(command: Command) -> String {
    let mut command = command.term_width(REFERENCE_COLUMNS);
    command.build();
    let mut text = String::new();
    add_markdown(&mut text, &mut command, "##");
    text
}

fn add_markdown(text: &mut String, command: &mut Command, heading: &str) {
    let help = command.render_long_help().to_string();
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let lines = help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    text.push_str(&format!("{heading} `{name}`\n\n```text\n{}\n```\n\n", lines.trim_end()));
    for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
        add_markdown(text, sub, "###");
    }
}
