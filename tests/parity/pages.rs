//! The pages for those who come from elsewhere leave no option out.

use std::process::Command;

use super::parallel;

/// Whether one of an option's names stands in the first column of the page's second table.
fn is_told(page: &str, names: &[&str]) -> bool {
    let (_, table) = page.split_once("## Option by option").unwrap();
    let left = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    // What stands between backquotes.
    let told = left.flat_map(|column| column.split('`').skip(1).step_by(2));
    let mut words = told.flat_map(|words| words.split([' ', ',']));
    words.any(|word| names.contains(&word))
}

/// What of a text for a shell stands outside of quotes, word by word.
fn unquoted(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => words.push(String::new()),
            (None, c) => words.last_mut().unwrap().push(c),
        }
    }
    words
}

/// GNU parallel tells zsh all that it has: `{--name,-n}'[what it is]'`, or one name without braces.
#[test]
fn each_option_of_gnu_parallel_is_told() {
    let Some(program) = parallel() else { return };
    let output = Command::new(program).args(["--will-cite", "--shell-completion", "zsh"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let options = text.split_once("{ _arguments ").unwrap().1.split_once(" '(-)1:").unwrap().0;
    let page = include_str!("../../docs/from-parallel.md");
    let mut told = 0;
    for word in unquoted(options) {
        let names = word.split(':').next().unwrap().trim_matches(|c| "{}".contains(c));
        let names: Vec<_> = names.split(',').collect();
        assert!(names.iter().all(|name| name.starts_with('-')), "{word}");
        assert!(is_told(page, &names), "{names:?}");
        told += 1;
    }
    assert!(told > 150, "{told}");
}

/// xargs tells its options in its help.
#[test]
fn each_option_of_xargs_is_told() {
    let Ok(output) = Command::new("xargs").arg("--help").output() else {
        eprintln!("SKIPPED: there is no xargs to be asked");
        return;
    };
    let help = String::from_utf8(output.stdout).unwrap();
    if !help.contains("findutils") {
        eprintln!("SKIPPED: this xargs is not GNU's");
        return;
    }
    let page = include_str!("../../docs/from-xargs.md");
    let mut told = 0;
    for line in help.lines().filter(|line| line.trim_start().starts_with('-')) {
        let names = line.trim_start().split("  ").next().unwrap();
        let names: Vec<_> =
            names.split(", ").map(|name| name.split([' ', '=', '[']).next().unwrap()).collect();
        assert!(is_told(page, &names), "{names:?}");
        told += 1;
    }
    assert!(told > 15, "{told}");
}
