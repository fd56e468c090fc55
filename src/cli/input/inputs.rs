//! Inputs as a run takes them: numbered, one by one, and no sooner than they are wanted.

use std::fs::File;

use super::blocks::Blocks;
use super::portion::Portions;
use super::source::{InputError, Named};

/// What one call of the job is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Input {
    /// Which one it is, from 0.
    pub(crate) number: u64,
    /// None for the one call of a job that takes no input.
    pub(crate) values: Vec<Vec<u8>>,
    /// A part of a stream, which takes their place (`--pipe`), until it is made an argument: there is no room to keep it.
    pub(crate) block: Option<Vec<u8>>,
    /// How many bytes it has, which stays known.
    pub(crate) sent: u64,
}

impl Input {
    /// Bytes of all values, or of the block.
    pub(crate) fn len(&self) -> usize {
        self.values.iter().chain(&self.block).map(Vec::len).sum()
    }

    /// The values as one text, for people.
    pub(crate) fn text(&self) -> Vec<u8> {
        self.values.join(&b' ')
    }
}

/// How a failure says which input it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The so manieth block of a stream.
    Block,
    /// The so manieth of the command line, of several sources, or of some that were put together.
    Argument,
    /// The so manieth line or item of standard input.
    Stdin(&'static str),
    /// The so manieth line of a file.
    File(String),
}

impl Place {
    /// Says which one the input with that number is.
    pub(crate) fn of(&self, number: u64) -> String {
        let number = number + 1;
        match self {
            Place::Block => format!("block {number}"),
            Place::Argument => format!("input {number}"),
            Place::Stdin(unit) => format!("{unit} {number}"),
            Place::File(file) => format!("{file}:{number}"),
        }
    }
}

/// Inputs, in order.
#[derive(Debug)]
pub(crate) struct Inputs {
    from: From,
    place: Place,
    taken: u64,
}

#[derive(Debug)]
enum From {
    Values(Portions),
    Blocks(Named<Blocks<File>>),
}

impl Inputs {
    pub(super) fn of_values(portions: Portions, place: Place) -> Inputs {
        Inputs { from: From::Values(portions), place, taken: 0 }
    }

    pub(super) fn of_blocks(blocks: Named<Blocks<File>>, place: Place) -> Inputs {
        Inputs { from: From::Blocks(blocks), place, taken: 0 }
    }

    /// How to say which one an input is.
    pub(crate) fn place(&self) -> Place {
        self.place.clone()
    }

    /// Whether the next input is there, so that nobody waits for it.
    pub(crate) fn is_there(&self) -> bool {
        match &self.from {
            From::Values(portions) => portions.is_there(),
            // Each is enough to hand on by itself.
            From::Blocks(_) => false,
        }
    }

    /// The next input; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Input>, InputError> {
        let number = self.taken;
        let input = match &mut self.from {
            From::Values(portions) => {
                portions.next()?.map(|values| Input { number, values, ..Input::default() })
            }
            From::Blocks(Named { name, it }) => {
                let block = it.next().map_err(|cause| InputError::new(name, cause))?;
                block.map(|block| {
                    let sent = block.len() as u64;
                    Input { number, values: Vec::new(), block: Some(block), sent }
                })
            }
        };
        self.taken += u64::from(input.is_some());
        Ok(input)
    }
}

#[cfg(test)]
mod tests {
    use super::super::combine::Sources;
    use super::super::source::{Format, Source};
    use super::*;

    const LINES: Format = Format { end: b'\n', columns: None };

    fn given(words: &str) -> Source {
        Source::Given(words.split_whitespace().map(Into::into).collect())
    }

    #[test]
    fn inputs_are_numbered_and_named() {
        let mut given = Sources::from(given("a b")).open(&LINES).unwrap();
        let numbers: Vec<_> =
            std::iter::from_fn(|| given.next().unwrap()).map(|input| input.number).collect();
        assert_eq!(numbers, [0, 1]);
        let mut once = Sources::from(Source::Once).open(&LINES).unwrap();
        assert_eq!(once.next().unwrap(), Some(Input::default()));
        assert_eq!(once.next().unwrap(), None);
        assert_eq!(Place::Stdin("line").of(6), "line 7");
        assert_eq!(Place::File("list.txt".into()).of(6), "list.txt:7");
    }
}
