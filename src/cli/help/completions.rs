//! `--completions`: what a shell offers at Tab.
//!
//! clap knows the options. Of the jobs only the running program knows, so the scripts ask it, with `--list-names`. They ask
//! no program that `--exe` names: to press Tab must start nothing that the user has not started before.

use clap::{Arg, Command, ValueEnum};

use super::bash;
use crate::cli::options::usage;

/// Those for which it is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// The script for a shell.
pub(crate) fn completions(
    command: &Command,
    name: &'static str,
    shell: Shell,
) -> Result<String, clap::Error> {
    // It becomes part of a script, as a name of functions.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    if !name.chars().all(plain) || name.starts_with('-') {
        return Err(usage(format!("no shell can complete a command named \"{}\"", name.escape_debug())));
    }
    // Without what is hidden, which clap would offer too, but for the words behind the options.
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set() || arg.is_positional()).cloned();
    let mut command = Command::new(name)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(shown);
    let mut script = Vec::new();
    match shell {
        Shell::Bash => clap_complete::generate(clap_complete::Shell::Bash, &mut command, name, &mut script),
        Shell::Zsh => clap_complete::generate(clap_complete::Shell::Zsh, &mut command, name, &mut script),
        Shell::Fish => clap_complete::generate(clap_complete::Shell::Fish, &mut command, name, &mut script),
    }
    let script = String::from_utf8_lossy(&script).into_owned();
    Ok(match shell {
        Shell::Bash => script + &bash::jobs(&command, name),
        Shell::Zsh => zsh(&script, name),
        Shell::Fish => script + &fish(name),
    })
}

/// The words that take the next one as their value.
pub(super) fn with_value(command: &Command) -> Vec<String> {
    let takes = |arg: &&Arg| {
        !arg.is_positional()
            && !arg.is_require_equals_set()
            && arg.get_num_args().is_some_and(|range| range.takes_values())
    };
    let mut words = Vec::new();
    for arg in command.get_arguments().filter(takes) {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        words.extend(arg.get_long().into_iter().chain(aliases).map(|name| format!("--{name}")));
        let aliases = arg.get_all_short_aliases().unwrap_or_default();
        words.extend(arg.get_short().into_iter().chain(aliases).map(|name| format!("-{name}")));
    }
    words
}

/// Everything behind the options goes through one function: first comes the job, then what may be a program or a file.
fn zsh(script: &str, name: &str) -> String {
    let function = format!("_{name}_words");
    let words = format!(
        "{function}() {{
    if (( CURRENT == 1 )); then
        local -a jobs
        jobs=(${{(f)\"$(_call_program jobs {name} --list-names)\"}})
        compadd -a jobs
    elif (( CURRENT == 2 )) && [[ $words[1] == exec ]]; then
        _command_names -e
    else
        _default
    fi
}}

"
    );
    let script = script.replace("'*::words:_default'", &format!("'*::words:{function}'"));
    match script.split_once('\n') {
        // The first line tells zsh whose completion it is.
        Some((first, rest)) => format!("{first}\n\n{words}{}", rest.trim_start()),
        None => script,
    }
}

fn fish(name: &str) -> String {
    format!(
        "complete -c {name} -n __fish_use_subcommand -f -a '({name} --list-names)' -d job\n\
         complete -c {name} -n '__fish_seen_subcommand_from exec' -a '(__fish_complete_command)'\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::options::command;

    #[test]
    fn options_with_a_value_are_known_by_all_their_names() {
        let mut command = command();
        command.build();
        let words = with_value(&command);
        for word in ["--workers", "-w", "-j", "--jobs", "--exe", "-a", "--termseq"] {
            assert!(words.iter().any(|known| known == word), "{word}: {words:?}");
        }
        assert!(!words.iter().any(|word| word == "--json" || word == "--help"), "{words:?}");
    }

    #[test]
    fn zsh_asks_for_the_jobs() {
        let script = completions(&command(), "own.tool", Shell::Zsh).unwrap();
        assert!(script.starts_with("#compdef own.tool\n"), "{script}");
        assert!(!script.contains("--list-names["), "{script}");
        assert_eq!(script.matches("_own.tool_words").count(), 2, "{script}");
    }

    #[test]
    fn a_name_that_is_no_word_of_a_shell_is_refused() {
        for name in ["a b", "x$(id)", "'", "-x", "a;b"] {
            assert!(completions(&command(), name, Shell::Bash).is_err(), "{name}");
        }
    }
}
