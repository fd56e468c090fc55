//! What a call looks like to people: a command that one could type.

use sidestep_worker::wire::JobInfo;

use super::arguments::{Arguments, Style};
use super::template::{fill_line, fill_words, shell_quote};
use crate::cli::input::Input;

/// Where it will run is not known, and does not make it another job.
const SLOT: &[u8] = b"{%}";

impl Arguments {
    /// The call for an input: the program with its arguments, the line of shell, or the job with its arguments.
    pub(crate) fn command(&self, job: &JobInfo, input: &Input) -> Vec<u8> {
        match self.style {
            Style::Exec => joined(fill_words(&self.command, input).iter().map(|word| word.with(SLOT))),
            Style::Shell => match self.command.first() {
                Some(line) => fill_line(line, input).with(SLOT),
                None => Vec::new(),
            },
            Style::Text | Style::Json => {
                let words = std::iter::once(job.name.clone().into_bytes());
                joined(words.chain(self.fixed.iter().cloned()).chain(input.values.iter().cloned()))
            }
        }
    }
}

/// Words as a shell would have to be given them.
fn joined(words: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    for word in words {
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(&shell_quote(word.into()));
    }
    out
}
