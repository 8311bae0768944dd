//! From the words of a command line to arguments, the same for every executable.

use std::ffi::OsString;
use std::io::Write;

use clap::builder::Command;
use clap::{CommandFactory, Parser};

use crate::generate::Generate;
use crate::logging::json_line;

/// What the executables agree on, for the end of `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed
  2   wrong usage or settings, or an input that is not there
  3   finished, but some inputs failed
  65  the input is broken or of no use; running again is of no use, either
  71  not enough memory, of the machine or of a device
  75  interrupted by Ctrl-C or SIGTERM; safe to run again";

/// Where settings are explained.
const SETTINGS: &str = "\
All settings:
  With unit, range and default in docs/reference/settings.md of
  https://github.com/hubmap-rs/hubmap, and with --generate settings";

/// The arguments of the process. Prints the help, what `--generate` asks for, or what is wrong, and ends the process
/// where there is nothing else to do.
pub fn parse<A: Parser>() -> A {
    let words: Vec<OsString> = std::env::args_os().collect();
    if let Some(only) = asks_to_generate(&words) {
        let text = only.and_then(|only| {
            let text = only.generate.text::<A>(command::<A>());
            text.map_err(|message| clap::Error::raw(clap::error::ErrorKind::InvalidValue, message))
        });
        match text {
            Ok(text) => {
                // A reader that closes the pipe, such as head, has seen enough.
                let _reader_gone = std::io::stdout().lock().write_all(text.as_bytes());
                #[expect(clippy::exit, reason = "all is said, as with --help")]
                std::process::exit(0);
            }
            Err(error) => end(&error, &words),
        }
    }
    let matches = command::<A>().try_get_matches_from(&words);
    match matches.and_then(|matches| A::from_arg_matches(&matches)) {
        Ok(args) => args,
        Err(error) => end(&error, &words),
    }
}

/// Prints help or an error as clap does, or as one object with `--json`, and ends the process.
fn end(error: &clap::Error, words: &[OsString]) -> ! {
    if error.use_stderr() && words.iter().any(|word| word == "--json") {
        let text = error.to_string();
        let line = json_line("ERROR", text.trim_start_matches("error: ").trim_end(), serde_json::Map::new());
        let _stderr_closed = writeln!(std::io::stderr().lock(), "{line}");
        #[expect(clippy::exit, reason = "as clap ends the process")]
        std::process::exit(error.exit_code());
    }
    error.exit()
}

/// The command line of an executable that only prints something about itself.
#[derive(Parser)]
#[command(disable_help_flag = true)]
struct OnlyGenerate {
    #[arg(long, value_name = "WHAT")]
    generate: Generate,
}

/// What `--generate` asks for, if it is there: by itself, or it is an error. Required arguments are not needed with it,
/// for which clap has no word where there are subcommands.
fn asks_to_generate(words: &[OsString]) -> Option<Result<OnlyGenerate, clap::Error>> {
    let mut words_of_flags = words.iter().skip(1).take_while(|word| *word != "--");
    let is_flag = |word: &OsString| {
        word == "--generate" || word.to_str().is_some_and(|word| word.starts_with("--generate="))
    };
    words_of_flags.any(is_flag).then(|| OnlyGenerate::try_parse_from(words))
}

/// The command line of `A`, with what all help texts end with.
pub(crate) fn command<A: CommandFactory>() -> Command {
    with_common_help(A::command())
}

fn with_common_help(command: Command) -> Command {
    let own = command.get_after_help().map(ToString::to_string);
    let has_settings = command.get_arguments().any(|arg| arg.get_id() == "set");
    let parts = [own.as_deref(), has_settings.then_some(SETTINGS), Some(EXIT_CODES)];
    let help = parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n");
    command.after_long_help(help).mut_subcommands(with_common_help)
}

#[cfg(test)]
mod tests {
    use clap::{Parser, Subcommand};

    use super::{asks_to_generate, command};
    use crate::args::{CommonArgs, ConfigArgs};
    use crate::generate::Generate;

    /// Do something.
    #[derive(Parser)]
    #[command(
        name = "hubmap-test",
        version,
        after_help = "Example:\n  hubmap-test one --input a\n  hubmap-test two"
    )]
    struct Args {
        #[command(subcommand)]
        what: What,
        #[command(flatten)]
        common: CommonArgs,
    }

    #[derive(Subcommand)]
    enum What {
        /// The first
        One {
            /// What to read
            #[arg(long)]
            input: String,
            #[command(flatten)]
            config: ConfigArgs,
        },
        /// The second, a \backslash and a 'quote'
        #[command(after_help = "Example:\n  hubmap-test two -q")]
        Two,
    }

    /// Wrong examples.
    #[derive(Parser)]
    #[command(name = "hubmap-test", after_help = "Example:\n  hubmap-test --inptu a")]
    struct Wrong {
        #[arg(long)]
        input: String,
    }

    fn asked(line: &str) -> Option<Result<Generate, String>> {
        let words: Vec<_> = line.split(' ').map(Into::into).collect();
        let asked = asks_to_generate(&words);
        asked.map(|only| only.map(|only| only.generate).map_err(|error| error.to_string()))
    }

    fn text(what: Generate) -> Result<String, String> {
        what.text::<Args>(command::<Args>())
    }

    #[test]
    fn generate_stands_alone_and_needs_nothing_else() {
        assert_eq!(asked("hubmap-test --generate man"), Some(Ok(Generate::Man)));
        assert_eq!(asked("hubmap-test --generate=zsh"), Some(Ok(Generate::Zsh)));
        assert_eq!(asked("hubmap-test one --input generate"), None);
        assert_eq!(asked("hubmap-test -- --generate man"), None);
        for (line, part) in [
            ("hubmap-test one --generate man", "unexpected argument 'one'"),
            ("hubmap-test --generate", "a value is required"),
            ("hubmap-test --generate bahs", "a similar value exists: 'bash'"),
        ] {
            let message = asked(line).and_then(Result::err).unwrap_or_default();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn help_ends_with_examples_settings_and_exit_codes() {
        let mut whole = command::<Args>();
        whole.build();
        let help = whole.render_long_help().to_string();
        assert!(help.contains("Example:\n  hubmap-test one") && help.contains("  75  interrupted"), "{help}");
        assert!(!help.contains("settings.md"), "{help}");
        let sub = whole.find_subcommand_mut("one").unwrap().render_long_help().to_string();
        assert!(sub.contains("docs/reference/settings.md") && sub.contains("  75  interrupted"), "{sub}");
        let short = command::<Args>().render_help().to_string();
        assert!(short.contains("hubmap-test two") && !short.contains("Exit codes"), "{short}");
    }

    #[test]
    fn examples_are_parsed() {
        let lines = "hubmap-test one --input a\nhubmap-test two\nhubmap-test two -q\n";
        assert_eq!(text(Generate::Examples).as_deref(), Ok(lines));
        let error = Generate::Examples.text::<Wrong>(command::<Wrong>()).unwrap_err();
        assert!(error.contains("`hubmap-test --inptu a`: error: unexpected argument"), "{error}");
    }

    #[test]
    fn the_man_page_holds_subcommands_and_lines_as_they_are() {
        let page = text(Generate::Man).unwrap();
        for part in [
            ".TH hubmap-test 1",
            ".SH \"hubmap\\-test one\"\n.SS SYNOPSIS",
            "\\fB\\-\\-input\\fR",
            ".SH \"EXAMPLE\"\n.nf\n  hubmap\\-test one \\-\\-input a\n",
            ".SH \"EXIT CODES\"",
            "a \\\\backslash",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
        assert_eq!(page.matches(".nf\n").count(), page.matches(".fi\n").count());
    }

    #[test]
    fn markdown_holds_the_help_of_every_subcommand() {
        let text = text(Generate::Markdown).unwrap();
        for part in ["## `hubmap-test`\n\n```text\nDo something", "### `hubmap-test two`", "--input <INPUT>"]
        {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100 && line == line.trim_end()));
    }

    #[test]
    fn completions_name_flags_and_subcommands() {
        for shell in [Generate::Bash, Generate::Zsh, Generate::Fish, Generate::Elvish, Generate::PowerShell] {
            let script = text(shell).unwrap();
            for part in ["one", "two", "input", "verbose"] {
                assert!(script.contains(part), "{part} is not in {shell:?}\n{script}");
            }
        }
        assert!(text(Generate::Settings).unwrap().contains("[train.loss]"));
    }
}
