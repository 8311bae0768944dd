//! The examples of a help text, which must be right.

use clap::Parser;
use clap::builder::Command;

/// The examples in the help of a command and of its subcommands: indented lines that begin with its name.
pub(super) fn examples(command: &Command) -> Vec<String> {
    fn add(command: &Command, name: &str, found: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().filter(|line| line.starts_with("  ")).map(str::trim);
        let is_example = |line: &&str| line.split(' ').next() == Some(name);
        found.extend(lines.filter(is_example).map(str::to_owned));
        command.get_subcommands().for_each(|sub| add(sub, name, found));
    }
    let mut found = Vec::new();
    add(command, command.get_name(), &mut found);
    found
}

/// The examples, a line each, if all of them are command lines that `A` takes.
pub(super) fn checked<A: Parser>(command: Command) -> Result<String, String> {
    let mut lines = String::new();
    for example in examples(&command) {
        let words = words(&example).ok_or_else(|| format!("`{example}`: a quote is not closed"))?;
        let matches = command.clone().try_get_matches_from(words);
        let parsed = matches.and_then(|matches| A::from_arg_matches(&matches));
        parsed.map_err(|error| format!("`{example}`: {error}"))?;
        lines.push_str(&example);
        lines.push('\n');
    }
    Ok(lines)
}

/// The words of a line up to a redirection, as a shell splits them; quotes are single ones.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with(['>', '|']) {
        let mut word = String::new();
        while let Some(next) = rest.chars().next().filter(|next| !next.is_whitespace()) {
            rest = &rest[next.len_utf8()..];
            if next == '\'' {
                let (quoted, after) = rest.split_once('\'')?;
                word.push_str(quoted);
                rest = after;
            } else {
                word.push(next);
            }
        }
        words.push(word);
        rest = rest.trim_start();
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn lines_are_split_as_by_a_shell() {
        let split = |line| words(line).unwrap_or_default().join("|");
        assert_eq!(split("a --set  'b=[\"c d\"]' e > f"), "a|--set|b=[\"c d\"]|e");
        assert_eq!(split("a b='c d'e | f"), "a|b=c de");
        assert_eq!(words("a 'b"), None);
    }
}
