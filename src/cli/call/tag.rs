//! What each line of a job's output begins with.

use super::template::Template;
use crate::cli::builtin::Word;
use crate::cli::input::Input;

/// The text of `--tagstring`; that of `--tag` is `{}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag(Template);

impl Tag {
    pub(crate) fn new(text: &[u8]) -> Tag {
        Tag(Template::new(text))
    }

    /// That of the job for an input.
    pub(crate) fn of(&self, input: &Input) -> Word {
        self.0.fill(input, |value| value)
    }
}
