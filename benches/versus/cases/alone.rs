//! What is measured in a process of its own, because an allocator keeps what earlier cases have had.

use std::process::{Command, Stdio};

use super::{scale, stream};
use crate::Outcome;

const MARKER: &str = "--alone";

/// What a copy of this program does, and prints the figures of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alone {
    Queue,
    Stream,
}

impl Alone {
    const ALL: [Alone; 2] = [Alone::Queue, Alone::Stream];

    fn name(self) -> &'static str {
        match self {
            Alone::Queue => "queue",
            Alone::Stream => "stream",
        }
    }

    fn measure(self, count: usize) -> Outcome<Vec<f64>> {
        match self {
            Alone::Queue => scale::queue(count),
            Alone::Stream => stream::streamed(count),
        }
    }

    /// The figures of that many jobs or items.
    pub(super) fn in_a_copy(self, count: usize) -> Outcome<Vec<f64>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([MARKER, self.name(), &count.to_string()]).stderr(Stdio::inherit());
        Ok(serde_json::from_slice(&command.output()?.stdout)?)
    }
}

/// Measures what the arguments name, if this is such a copy.
pub(crate) fn measure(arguments: &[String]) -> Option<Outcome<()>> {
    match arguments {
        [marker, name, count] if marker == MARKER => {
            let alone = Alone::ALL.into_iter().find(|alone| alone.name() == name)?;
            Some(print(alone, count))
        }
        _ => None,
    }
}

fn print(alone: Alone, count: &str) -> Outcome<()> {
    let figures = alone.measure(count.parse()?)?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}
