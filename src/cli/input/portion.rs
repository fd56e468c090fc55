//! What of the inputs one call of the job gets: one, or several of them (`-n`), in order or not (`--shuf`), or a part of a
//! stream (`--pipe`).

use fastrand::Rng;

use super::blocks::Cut;
use super::combine::{Combined, Values};
use super::source::InputError;

/// What one call of the job gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Portion {
    /// So many inputs; with 0 of them nothing, once for each.
    Inputs { each: usize, shuffle: Option<Shuffle> },
    /// A part of the one source.
    Block(Cut),
}

impl Default for Portion {
    fn default() -> Portion {
        Portion::Inputs { each: 1, shuffle: None }
    }
}

impl Portion {
    /// How many inputs go into a call; `None` for parts of a stream.
    pub(crate) fn each(&self) -> Option<usize> {
        match self {
            Portion::Inputs { each, .. } => Some(*each),
            Portion::Block(_) => None,
        }
    }
}

/// A random order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shuffle {
    /// Another one each time.
    Anew,
    /// The same one each time.
    Seed(u64),
}

impl Shuffle {
    fn rng(self) -> Rng {
        match self {
            Shuffle::Anew => Rng::new(),
            Shuffle::Seed(seed) => Rng::with_seed(seed),
        }
    }
}

/// The values for each call.
#[derive(Debug)]
pub(super) struct Portions {
    inputs: Order,
    each: usize,
}

#[derive(Debug)]
enum Order {
    AsTheyCome(Combined),
    /// All have to be read before the first can be given.
    Unread(Combined, Shuffle),
    Shuffled(std::vec::IntoIter<Values>),
}

impl Portions {
    pub(super) fn new(inputs: Combined, each: usize, shuffle: Option<Shuffle>) -> Portions {
        let inputs = match shuffle {
            None => Order::AsTheyCome(inputs),
            Some(shuffle) => Order::Unread(inputs, shuffle),
        };
        Portions { inputs, each }
    }

    /// Whether nobody waits for the next values.
    pub(super) fn is_there(&self) -> bool {
        match &self.inputs {
            Order::AsTheyCome(inputs) => inputs.are_there(self.each.max(1)),
            Order::Unread(..) => false,
            Order::Shuffled(_) => true,
        }
    }

    /// The values for the next call, in one row; `None` at the end. The last call may get fewer inputs than the others.
    pub(super) fn next(&mut self) -> Result<Option<Values>, InputError> {
        let Some(mut values) = self.inputs.next()? else { return Ok(None) };
        if self.each == 0 {
            values.clear();
        }
        for _ in 1..self.each {
            match self.inputs.next()? {
                Some(more) => values.extend(more),
                None => break,
            }
        }
        Ok(Some(values))
    }
}

impl Order {
    fn next(&mut self) -> Result<Option<Values>, InputError> {
        if let Order::Unread(inputs, shuffle) = self {
            let mut all = Vec::new();
            while let Some(values) = inputs.next()? {
                all.push(values);
            }
            shuffle.rng().shuffle(&mut all);
            *self = Order::Shuffled(all.into_iter());
        }
        match self {
            Order::AsTheyCome(inputs) | Order::Unread(inputs, _) => inputs.next(),
            Order::Shuffled(inputs) => Ok(inputs.next()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::combine::{Join, Sources};
    use super::super::source::{Format, Source};
    use super::*;

    fn texts(words: &str, portion: Portion) -> Vec<String> {
        let sources =
            Sources { portion, ..Source::Given(words.split_whitespace().map(Into::into).collect()).into() };
        all(sources)
    }

    fn all(sources: Sources) -> Vec<String> {
        let count = sources.count();
        let mut inputs = sources.open(&Format { end: b'\n', columns: None }).unwrap();
        let texts: Vec<_> = std::iter::from_fn(|| inputs.next().unwrap())
            .map(|input| String::from_utf8(input.text()).unwrap())
            .collect();
        assert_eq!(count, Some(texts.len()));
        texts
    }

    #[test]
    fn several_inputs_go_together_and_the_last_ones_may_be_fewer() {
        let each = |each| texts("a b c", Portion::Inputs { each, shuffle: None });
        assert_eq!(each(1), ["a", "b", "c"]);
        assert_eq!(each(2), ["a b", "c"]);
        assert_eq!(each(3), ["a b c"]);
        assert_eq!(each(usize::MAX), ["a b c"]);
        assert_eq!(each(0), ["", "", ""]);
    }

    #[test]
    fn combinations_go_together_too() {
        let given = |words: &str| Source::Given(words.split_whitespace().map(Into::into).collect());
        let portion = Portion::Inputs { each: 2, shuffle: None };
        let sources = Sources { others: vec![(Join::Cross, given("1 2 3"))], portion, ..given("a b").into() };
        assert_eq!(all(sources), ["a 1 a 2", "a 3 b 1", "b 2 b 3"]);
    }

    #[test]
    fn a_seed_gives_the_same_order_each_time() {
        let words: Vec<String> = (0..100).map(|n| format!("{n:02}")).collect();
        let shuffled = |shuffle| texts(&words.join(" "), Portion::Inputs { each: 1, shuffle: Some(shuffle) });
        let one = shuffled(Shuffle::Seed(7));
        assert_eq!(one, shuffled(Shuffle::Seed(7)));
        assert_ne!(one, shuffled(Shuffle::Seed(8)));
        assert_ne!(shuffled(Shuffle::Anew), shuffled(Shuffle::Anew));
        let mut sorted = one.clone();
        sorted.sort();
        assert_eq!(sorted, words);
        assert_ne!(one, words);
    }
}
