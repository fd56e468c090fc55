//! What the command tells of itself: `-h`, `--help`, `--man`, `--completions`.
//!
//! The definition of the options is the one source of all of them. `-h` alone is laid out by hand, because fifty options
//! on one screen need it; a test compares it with the definition. What `--help` and the manual say beyond a line for each
//! option stands here, where it may be long, and not beside the options, which one wants to see at a glance.

mod bash;
mod completions;
mod explained;
mod man;
mod sections;

use clap::Command;

pub(super) use completions::{Shell, completions};
pub(super) use man::man;

use super::say::POOL_RUN;

const USAGE: &str = "\
pool-run [OPTIONS] JOB [ARG]... [::: INPUT...]... [:::: FILE...]...
       pool-run --list [--exe PATH]";

/// All of `-h` but its first lines.
const SHORT: &str = include_str!("short.txt");

/// Gives the command its texts, with the name by which it was called: a user's own program may be it.
pub(super) fn dress(command: Command, name: &'static str) -> Command {
    let own = |text: &str| text.replace(POOL_RUN, name);
    let command = command
        .name(name)
        .override_usage(own(USAGE))
        .after_help(own(SHORT.trim_end()))
        .after_long_help(own(&sections::as_help()));
    command.mut_args(|arg| {
        // `-h` shows options in its own text.
        let arg = arg.hide_short_help(true);
        match (explained::of(arg.get_id().as_str()), arg.get_help()) {
            (Some(more), Some(help)) => {
                let text = format!("{help}\n\n{}", own(more));
                arg.long_help(text)
            }
            _ => arg,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::options::Options;
    use clap::CommandFactory;

    fn command() -> Command {
        dress(Options::command(), POOL_RUN)
    }

    /// What `words` print.
    fn printed(words: &[&str]) -> String {
        let command = command().term_width(80);
        let words = [&[POOL_RUN], words].concat();
        command.try_get_matches_from(words).unwrap_err().to_string()
    }

    /// The long options that a text names.
    fn named(text: &str) -> Vec<&str> {
        let behind_dashes = text.match_indices("--").map(|(at, dashes)| &text[at + dashes.len()..]);
        behind_dashes
            .map(|text| {
                text.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next().unwrap_or_default()
            })
            .map(|name| name.trim_end_matches('-'))
            .filter(|name| !name.is_empty())
            .collect()
    }

    fn options() -> Vec<clap::Arg> {
        let mut command = command();
        command.build();
        command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set()).cloned().collect()
    }

    #[test]
    fn both_helps_name_every_option() {
        for help in [printed(&["-h"]), printed(&["--help"])] {
            let names = named(&help);
            for option in options() {
                let (long, short) = (option.get_long().unwrap(), option.get_short());
                // `-h` is named where `--help` is.
                assert!(names.contains(&long), "--{long} is not in:\n{help}");
                let short = short.map(|short| format!("-{short}"));
                let words = || help.split(|c: char| c.is_whitespace() || ",;()[".contains(c));
                assert!(short.as_deref().is_none_or(|short| words().any(|word| word == short)), "{short:?}");
            }
        }
    }

    #[test]
    fn the_short_help_names_nothing_else() {
        let options = options();
        fn aliases(option: &clap::Arg) -> Vec<&str> {
            option.get_all_aliases().unwrap_or_default()
        }
        let names = options.iter().flat_map(|option| option.get_long().into_iter().chain(aliases(option)));
        let known: Vec<String> = names.map(str::to_owned).collect();
        for name in named(&printed(&["-h"])) {
            assert!(known.iter().any(|known| known == name), "--{name}");
        }
    }

    #[test]
    fn the_short_help_fits_a_screen() {
        let help = printed(&["-h"]);
        assert!(help.lines().count() <= 60, "{} lines:\n{help}", help.lines().count());
        assert!(help.is_ascii() && help.lines().all(|line| line.len() <= 80), "{help}");
        assert!(
            help.starts_with("Run a job over") && help.contains("Usage: pool-run [OPTIONS] JOB"),
            "{help}"
        );
    }

    #[test]
    fn the_long_help_keeps_to_the_width() {
        let help = printed(&["--help"]);
        let wide = help.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None);
        for heading in ["Placeholders:", "Exit status:", "Signals:", "Environment:", "Examples:"] {
            assert!(help.contains(&format!("\n{heading}\n")), "{heading} {help}");
        }
    }

    #[test]
    fn what_is_explained_is_an_option() {
        for id in explained::ids() {
            assert!(options().iter().any(|option| option.get_id() == id), "{id}");
        }
    }

    #[test]
    fn a_program_of_the_users_own_has_its_own_name_everywhere() {
        let own = || dress(Options::command(), "my-tool");
        for words in [["my-tool", "-h"], ["my-tool", "--help"]] {
            let help = own().try_get_matches_from(words).unwrap_err().to_string();
            assert!(help.contains("Usage: my-tool [OPTIONS]") && !help.contains(POOL_RUN), "{help}");
        }
        let man = man(&own()).unwrap();
        assert!(man.contains("my\\-tool") && !man.contains("pool\\-run"), "{man}");
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = completions(&own(), "my-tool", shell).unwrap();
            assert!(script.contains("my-tool") && !script.contains("pool-run"), "{shell:?}: {script}");
        }
    }
}
