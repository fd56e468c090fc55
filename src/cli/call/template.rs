//! Where an input goes in the command of `exec` and in the line of `sh`.
//!
//! What stands in braces means what it means to GNU parallel: `{}` the input, `{.}` without its extension, `{/}` the name
//! without its folder, `{//}` the folder, `{/.}` the name without both, `{3}` the third of several values, `{3/}` its name,
//! `{-1}` the last of them, `{#}` the number of the job from 1, `{%}` the
//! place of its worker from 1. `{{}}` is a plain `{}`. Anything else is left as it is.

use std::borrow::Cow;

use crate::cli::builtin::Word;
use crate::cli::input::Input;

/// A word, or a line, with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    /// The values, or one of them, and what of it.
    Hole(Option<i32>, Part),
    /// The number of the job.
    Number,
    /// The worker's place, which only the worker knows.
    Slot,
}

/// What of a value, if it is a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    NoExtension,
    Name,
    Folder,
    Stem,
}

const PARTS: [(&[u8], Part); 5] = [
    (b"//}", Part::Folder),
    (b"/.}", Part::Stem),
    (b"/}", Part::Name),
    (b".}", Part::NoExtension),
    (b"}", Part::Whole),
];

impl Template {
    /// Reads it. Everything is a template, be there holes in it or not.
    pub(crate) fn new(text: &[u8]) -> Template {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), Vec::new(), text);
        while let [first, behind @ ..] = rest {
            if let Some(after) = rest.strip_prefix(b"{{}}") {
                plain.extend_from_slice(b"{}");
                rest = after;
            } else if let Some((piece, after)) = hole(rest) {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(piece);
                rest = after;
            } else {
                plain.push(*first);
                rest = behind;
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Template(pieces)
    }

    /// Whether anything of an input goes into it.
    pub(crate) fn has_hole(&self) -> bool {
        self.0.iter().any(|piece| !matches!(piece, Piece::Text(_)))
    }

    /// The words that it makes: one, but for `{}` alone, which makes one of each value.
    fn push_words(&self, input: &Input, words: &mut Vec<Word>) {
        match &self.0[..] {
            [Piece::Hole(None, part)] => {
                words.extend(input.values.iter().map(|value| part.of(value).into_owned().into()))
            }
            _ => words.push(self.fill(input, |value| value)),
        }
    }

    /// The text with what goes into its holes, each value as `show` has it.
    pub(crate) fn fill<'a>(&self, input: &'a Input, show: impl Fn(Cow<'a, [u8]>) -> Cow<'a, [u8]>) -> Word {
        let (mut word, mut out) = (Word::default(), Vec::new());
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Number => out.extend_from_slice((input.number + 1).to_string().as_bytes()),
                Piece::Slot => word.push(std::mem::take(&mut out)),
                Piece::Hole(None, part) => {
                    for (at, value) in input.values.iter().enumerate() {
                        if at > 0 {
                            out.push(b' ');
                        }
                        out.extend_from_slice(&show(part.of(value)));
                    }
                }
                Piece::Hole(Some(which), part) => {
                    // There may be fewer values than were asked for.
                    if let Some(value) = nth(&input.values, *which) {
                        out.extend_from_slice(&show(part.of(value)));
                    }
                }
            }
        }
        word.push(out);
        word
    }
}

/// What stands in the braces at the beginning of a text, and what follows.
fn hole(text: &[u8]) -> Option<(Piece, &[u8])> {
    let inner = text.strip_prefix(b"{")?;
    if let Some(after) = inner.strip_prefix(b"#}") {
        return Some((Piece::Number, after));
    }
    if let Some(after) = inner.strip_prefix(b"%}") {
        return Some((Piece::Slot, after));
    }
    let digits = inner.iter().skip(usize::from(inner.starts_with(b"-"))).take_while(|c| c.is_ascii_digit());
    let len = digits.count();
    let len = if len > 0 { len + usize::from(inner.starts_with(b"-")) } else { 0 };
    let (number, rest) = inner.split_at(len);
    let which = match std::str::from_utf8(number).ok()? {
        "" => None,
        number => Some(number.parse().ok()?),
    };
    PARTS.iter().find_map(|(end, part)| Some((Piece::Hole(which, *part), rest.strip_prefix(*end)?)))
}

/// A value by its number: from 1, or from the end with a minus.
fn nth(values: &[Vec<u8>], which: i32) -> Option<&Vec<u8>> {
    let places = which.unsigned_abs() as usize;
    let at = if which < 0 { values.len().checked_sub(places) } else { places.checked_sub(1) };
    values.get(at?)
}

impl Part {
    fn of(self, value: &[u8]) -> Cow<'_, [u8]> {
        let part = match self {
            Part::Whole => value,
            Part::NoExtension => without_extension(value),
            Part::Name => name_of(value),
            Part::Stem => without_extension(name_of(value)),
            Part::Folder => folder_of(value),
        };
        part.into()
    }
}

/// What follows the last slash.
fn name_of(value: &[u8]) -> &[u8] {
    value.rsplit(|byte| *byte == b'/').next().unwrap_or(value)
}

/// Without the last dot of the name, and what follows it.
fn without_extension(value: &[u8]) -> &[u8] {
    match value.iter().rposition(|byte| matches!(byte, b'.' | b'/')) {
        Some(at) if value[at] == b'.' => &value[..at],
        _ => value,
    }
}

/// As dirname(1) tells it, without the slashes at the end.
fn folder_of(value: &[u8]) -> &[u8] {
    let trim = |path: &[u8]| path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    let path = &value[..trim(value)];
    match path.iter().rposition(|byte| *byte == b'/') {
        None if path.is_empty() && !value.is_empty() => b"/",
        None => b".",
        Some(at) => match trim(&path[..at]) {
            0 => b"/",
            end => &path[..end],
        },
    }
}

/// The words of a command with the input in their holes, or behind them if there are none.
pub(crate) fn fill_words(words: &[Template], input: &Input) -> Vec<Word> {
    let mut filled = Vec::with_capacity(words.len() + 1);
    for word in words {
        word.push_words(input, &mut filled);
    }
    if !words.iter().any(Template::has_hole) {
        filled.extend(input.values.iter().map(|value| value.clone().into()));
    }
    filled
}

/// A line of shell with the input, quoted, in its holes, or behind it if there are none.
pub(crate) fn fill_line(line: &Template, input: &Input) -> Word {
    let mut filled = line.fill(input, shell_quote);
    if !line.has_hole() {
        for value in &input.values {
            filled.extend(b" ");
            filled.extend(&shell_quote(value.into()));
        }
    }
    filled
}

/// `text` as one word for a POSIX shell, whatever is in it: as GNU parallel writes it, so that logs and `--dry-run` agree.
pub(super) fn shell_quote(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./+".contains(byte);
    if !text.is_empty() && text.iter().all(harmless) {
        return text;
    }
    let quote = |piece: &[u8]| [b"'", piece, b"'"].concat();
    let pieces: Vec<_> = text.split(|byte| *byte == b'\'').map(quote).collect();
    let quoted = pieces.join(&b"\"'\""[..]);
    // Before the first and behind the last quote there is nothing to be said, if it is not all.
    let empty = &b"''"[..];
    let several = pieces.len() > 1;
    let from = if several && pieces.first().is_some_and(|piece| piece == empty) { 2 } else { 0 };
    let behind = if several && pieces.last().is_some_and(|piece| piece == empty) { 2 } else { 0 };
    Cow::Owned(quoted[from..quoted.len() - behind].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn input(values: &[&[u8]]) -> Input {
        let values = values.iter().map(|value| value.to_vec()).collect();
        Input { number: 6, values, ..Input::default() }
    }

    fn words(command: &[&str], values: &[&str]) -> Vec<String> {
        let command: Vec<_> = command.iter().map(|word| Template::new(word.as_bytes())).collect();
        let values: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
        let filled = fill_words(&command, &input(&values));
        filled.iter().map(|word| String::from_utf8(word.text(3)).unwrap()).collect()
    }

    fn line(line: &[u8], value: &[u8]) -> Vec<u8> {
        fill_line(&Template::new(line), &input(&[value])).text(3)
    }

    #[test]
    fn the_input_goes_where_it_belongs() {
        assert_eq!(words(&["gzip", "-9"], &["a b"]), ["gzip", "-9", "a b"]);
        assert_eq!(words(&["cp", "{}", "{}.bak"], &["a"]), ["cp", "a", "a.bak"]);
        assert_eq!(words(&["{}"], &["{}"]), ["{}"]);
        assert_eq!(words(&["x{}{}y"], &["-"]), ["x--y"]);
        assert_eq!(line(b"wc -l < {}", b"a b"), b"wc -l < 'a b'");
        assert_eq!(line(b"echo", b"it's"), b"echo 'it'\"'\"'s'");
        assert_eq!(line(b"echo", b""), b"echo ''");
        assert_eq!(line(b"echo {} {}", b"-n"), b"echo -n -n");
    }

    #[test]
    fn several_values_go_where_their_numbers_are() {
        assert_eq!(words(&["echo"], &["a", "b c"]), ["echo", "a", "b c"]);
        assert_eq!(words(&["cp", "{}", "to"], &["a", "b c"]), ["cp", "a", "b c", "to"]);
        assert_eq!(words(&["[{}]"], &["a", "b"]), ["[a b]"]);
        assert_eq!(words(&["{2}-{1}", "{-1}", "{3}", "{0}"], &["a", "b"]), ["b-a", "b", "", ""]);
        assert_eq!(words(&["{2.}", "{1/}", "{1//}", "{01/.}"], &["d/e.x", "p.q"]), ["p", "e.x", "d", "e"]);
        let two = fill_line(&Template::new(b"f {} {2}"), &input(&[b"a b", b"c"]));
        assert_eq!(two.text(3), b"f 'a b' c c");
    }

    #[test]
    fn the_workers_place_is_left_to_the_worker() {
        assert_eq!(words(&["gpu{%}", "{%}{#}{%}"], &["a"]), ["gpu3", "373"]);
        assert_eq!(line(b"run {} --gpu {%}", b"{%}"), b"run '{%}' --gpu 3");
    }

    #[test]
    fn without_values_nothing_is_put_anywhere() {
        assert_eq!(words(&["cat"], &[]), ["cat"]);
        assert_eq!(words(&["x{}y", "{}", "{1}"], &[]), ["xy", ""]);
        assert_eq!(fill_line(&Template::new(b"wc -l; echo [{}]"), &input(&[])).text(1), b"wc -l; echo []");
    }

    #[test]
    fn what_is_no_hole_is_left_alone() {
        assert_eq!(
            words(&["{#}", "{{}}", "{x}", "{-}", "{", "{1"], &["a"]),
            ["7", "{}", "{x}", "{-}", "{", "{1"]
        );
        assert_eq!(words(&["awk", "{print $1}"], &["a"]), ["awk", "{print $1}", "a"]);
        assert_eq!(words(&["{99999999999}"], &["a"]), ["{99999999999}", "a"]);
    }

    /// What GNU parallel 20221122 makes of them.
    #[test]
    fn parts_of_paths_are_what_they_are_to_gnu_parallel() {
        for (path, [no_extension, name, folder, stem]) in [
            ("d/e/f.tar.gz", ["d/e/f.tar", "f.tar.gz", "d/e", "f.tar"]),
            ("x", ["x", "x", ".", "x"]),
            (".bash", ["", ".bash", ".", ""]),
            ("/a.b/c", ["/a.b/c", "c", "/a.b", "c"]),
            ("/x", ["/x", "x", "/", "x"]),
            ("x/", ["x/", "", ".", ""]),
            ("a//b", ["a//b", "b", "a", "b"]),
            ("/", ["/", "", "/", ""]),
            (".", ["", ".", ".", ""]),
            ("..", [".", "..", ".", "."]),
            ("a.", ["a", "a.", ".", "a"]),
            ("a/.b", ["a/", ".b", "a", ""]),
            ("a.b/c.", ["a.b/c", "c.", "a.b", "c"]),
        ] {
            let filled = words(&["{.}", "{/}", "{//}", "{/.}"], &[path]);
            assert_eq!(filled, [no_extension, name, folder, stem], "{path}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_shell_reads_any_input_as_one_word(input in proptest::collection::vec(1u8..=255, 0..40)) {
            let line = line(b"printf %s,", &input);
            let output = std::process::Command::new("/bin/sh").arg("-c").arg(OsStr::from_bytes(&line)).output()?;
            // `printf %s, X`: the format, then the word and the comma.
            prop_assert_eq!(output.stdout, [&input[..], b","].concat());
        }

        #[test]
        fn any_text_is_a_template(text: Vec<u8>, values: Vec<Vec<u8>>) {
            let template = Template::new(&text);
            let _ = fill_line(&template, &Input { values, ..Input::default() });
            let plain: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'{').collect();
            prop_assert_eq!(Template::new(&plain).has_hole(), false);
        }
    }
}
