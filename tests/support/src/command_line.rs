//! What every executable's command line owes its users.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::run;

/// Checks an executable: examples that are right, help that says what is common to all, completions that bash takes, flags that fit what it does, and its part of `docs/reference/cli.md`.
///
/// # Panics
///
/// One of these does not hold.
#[track_caller]
pub fn check_command_line(executable: &str, has_settings: bool, runs_networks: bool) {
    let help = good(executable, &["--help"]);
    for part in
        ["Examples:\n  hubmap-", "Exit codes:\n  0   done", "--threads <N>", "--verbose", "--quiet", "--json"]
    {
        assert!(help.contains(part), "{part:?} is not in {help}");
    }
    let everything = good(executable, &["--generate", "markdown"]);
    for (flag, wanted) in [
        ("--config <FILE>", has_settings),
        ("--set <TABLE.KEY=VALUE>", has_settings),
        ("docs/reference/settings.md", has_settings),
        ("--device <DEVICE>", runs_networks),
    ] {
        assert_eq!(everything.contains(flag), wanted, "{flag} in {everything}");
    }
    let examples = good(executable, &["--generate", "examples"]);
    assert!(examples.lines().count() >= 2, "{examples}");
    let man = good(executable, &["--generate", "man"]);
    assert!(man.contains(".SH SYNOPSIS") && man.contains(".SH \"EXAMPLES\""), "{man}");
    let bash = good(executable, &["--generate", "bash"]);
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(good(executable, &["--generate", shell]).contains("verbose"), "{shell}");
    }
    for flag in everything.split_whitespace().filter_map(long_flag) {
        assert!(bash.contains(flag), "{flag} is not completed");
    }
    bash_accepts(&bash);
    let both = run(executable, ["--generate", "man", "--quiet"]);
    assert!(both.code == 2 && both.stderr.contains("--quiet"), "{both:?}");
    let wrong = run(executable, ["--no-such-flag"]);
    assert!(
        wrong.code == 2 && wrong.stdout.is_empty() && wrong.stderr.contains("--no-such-flag"),
        "{wrong:?}"
    );
    let wrong = run(executable, ["--no-such-flag", "--json"]);
    let line: serde_json::Value = serde_json::from_str(&wrong.stderr).unwrap_or_default();
    assert!(wrong.code == 2 && line["level"] == "ERROR" && line["timestamp"].is_string(), "{wrong:?}");
    assert!(line["message"].as_str().is_some_and(|text| text.contains("--no-such-flag")), "{wrong:?}");

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
    let page = std::fs::read_to_string(page).unwrap_or_default();
    assert!(
        page.contains(&everything),
        "docs/reference/cli.md does not have this help: run docs/reference/make.sh\n{everything}"
    );
}

/// `--flag` of a word of a help text.
fn long_flag(word: &str) -> Option<&str> {
    let name = word.strip_prefix("--")?;
    let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(name.len());
    (end > 0).then(|| &word[..end + 2])
}

/// What an executable writes to stdout that does well.
#[track_caller]
fn good(executable: &str, args: &[&str]) -> String {
    let ran = run(executable, args);
    assert!(ran.code == 0 && ran.stderr.is_empty() && !ran.stdout.is_empty(), "{args:?}: {ran:?}");
    ran.stdout
}

/// Asserts that bash reads a script from stdin without a word.
#[track_caller]
fn bash_accepts(script: &str) {
    let mut command = Command::new("bash");
    let child = command.arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let output = child.and_then(|mut child| {
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(script.as_bytes())?;
        }
        child.wait_with_output()
    });
    let is_taken = output.as_ref().is_ok_and(|output| output.status.success() && output.stderr.is_empty());
    assert!(is_taken, "{output:?}\n{script}");
}
