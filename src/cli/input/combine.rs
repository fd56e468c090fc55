//! What each call of the job is about: the inputs of one source, or of several combined. They are read one by one and
//! no sooner than they are wanted.
//!
//! Sources stand in *groups*. Those of one group go side by side: the first inputs of all, the second ones. Groups go
//! each with each, the last one fastest. So only the first group is read as it goes; the others are kept in memory.

use super::inputs::{Inputs, Place};
use super::portion::{Portion, Portions};
use super::source::{Format, InputError, Reader, Source};

/// How a source goes with the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    /// Each of its inputs with each of those before.
    Cross,
    /// Side by side, as far as both go.
    Beside,
}

/// All that inputs come from: the first source, and how the others go with those before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sources {
    pub(crate) first: Source,
    pub(crate) others: Vec<(Join, Source)>,
    /// All of them side by side, the shorter ones again from their beginning (`--link`).
    pub(crate) linked: bool,
    /// What of them one call of the job gets.
    pub(crate) portion: Portion,
}

impl From<Source> for Sources {
    fn from(first: Source) -> Sources {
        Sources { first, others: Vec::new(), linked: false, portion: Portion::default() }
    }
}

impl Sources {
    fn all(&self) -> impl Iterator<Item = &Source> {
        std::iter::once(&self.first).chain(self.others.iter().map(|(_, source)| source))
    }

    /// How many sources there are.
    pub(crate) fn len(&self) -> usize {
        1 + self.others.len()
    }

    /// Whether there is no input to come, but one call.
    pub(crate) fn is_once(&self) -> bool {
        self.first == Source::Once
    }

    /// How many calls there are to be, if that is known before inputs are read.
    pub(crate) fn count(&self) -> Option<usize> {
        match self.portion {
            Portion::Inputs { each, .. } => self.count_inputs().map(|count| count.div_ceil(each.max(1))),
            Portion::Block(_) => None,
        }
    }

    fn count_inputs(&self) -> Option<usize> {
        let mut counts = self.all().map(Source::count);
        if self.linked {
            return counts.try_fold(0, |most, count| Some(count?.max(most)));
        }
        let mut product = 1usize;
        let mut group = counts.next()??;
        for ((join, _), count) in self.others.iter().zip(counts) {
            match join {
                Join::Beside => group = group.min(count?),
                Join::Cross => (product, group) = (product.saturating_mul(group), count?),
            }
        }
        Some(product.saturating_mul(group))
    }

    /// Whether someone has to type the inputs, and may not know it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.all().any(Source::is_terminal)
    }

    /// Whether standard input is read for more than one of them.
    pub(crate) fn share_stdin(&self) -> bool {
        self.all().filter(|source| **source == Source::Stdin).count() > 1
    }

    /// How to say which one an input is.
    fn place(&self, format: &Format) -> Place {
        let in_order = matches!(self.portion, Portion::Inputs { each: 0 | 1, shuffle: None });
        match &self.first {
            _ if matches!(self.portion, Portion::Block(_)) => Place::Block,
            _ if !self.others.is_empty() || !in_order => Place::Argument,
            Source::Stdin => Place::Stdin(if format.end == b'\n' { "line" } else { "item" }),
            Source::File(path) => Place::File(path.display().to_string()),
            Source::Given(_) | Source::Once => Place::Argument,
        }
    }

    /// Opens all of them.
    pub(crate) fn open(self, format: &Format) -> Result<Inputs, InputError> {
        let place = self.place(format);
        match self.portion {
            Portion::Block(cut) => Ok(Inputs::of_blocks(self.first.open_blocks(cut)?, place)),
            Portion::Inputs { each, shuffle } => {
                let combined = Combined::open(self.first, self.others, self.linked, format)?;
                Ok(Inputs::of_values(Portions::new(combined, each, shuffle), place))
            }
        }
    }
}

/// Sources side by side.
#[derive(Debug, Default)]
struct Group {
    members: Vec<Member>,
    /// Until the longest ends; shorter ones begin again.
    repeats: bool,
}

#[derive(Debug)]
struct Member {
    reader: Reader,
    /// What it has given, to be given again, if its group repeats.
    given: Vec<Values>,
    /// Which of them is next, once it has ended.
    again: Option<usize>,
}

/// Those of one input.
pub(super) type Values = Vec<Vec<u8>>;

impl From<Reader> for Member {
    fn from(reader: Reader) -> Member {
        Member { reader, given: Vec::new(), again: None }
    }
}

impl Member {
    /// The next input. At the end of one that repeats it is one of those before; then `true` comes with it.
    fn next(&mut self, repeats: bool) -> Result<Option<(Values, bool)>, InputError> {
        if self.again.is_none() {
            if let Some(values) = self.reader.next()? {
                if repeats {
                    self.given.push(values.clone());
                }
                return Ok(Some((values, false)));
            }
            self.again = Some(0);
        }
        let Some(at) = self.again.filter(|_| !self.given.is_empty()) else { return Ok(None) };
        self.again = Some((at + 1) % self.given.len());
        Ok(Some((self.given[at].clone(), true)))
    }
}

impl Group {
    fn of(reader: Reader, repeats: bool) -> Group {
        Group { members: vec![reader.into()], repeats }
    }

    fn are_there(&self, many: usize) -> bool {
        self.members.iter().all(|member| member.again.is_some() || member.reader.are_there(many))
    }

    /// The values of the next inputs of all members.
    fn next(&mut self) -> Result<Option<Values>, InputError> {
        // Alone it has nobody to wait for.
        let repeats = self.repeats && self.members.len() > 1;
        let (mut all, mut fresh) = (Vec::new(), false);
        for member in &mut self.members {
            let Some((mut values, again)) = member.next(repeats)? else { return Ok(None) };
            fresh |= !again;
            match all.is_empty() {
                true => all = values,
                false => all.append(&mut values),
            }
        }
        Ok(fresh.then_some(all))
    }
}

/// The groups behind the first.
#[derive(Debug)]
enum Others {
    Unread(Vec<Group>),
    /// Their inputs, and which of each is next.
    Kept(Vec<(Vec<Values>, usize)>),
}

/// The values of inputs, in order.
#[derive(Debug)]
pub(crate) struct Combined {
    first: Group,
    others: Others,
    /// The first group's input that goes with the others'.
    current: Option<Values>,
}

impl Combined {
    fn open(
        first: Source,
        others: Vec<(Join, Source)>,
        linked: bool,
        format: &Format,
    ) -> Result<Combined, InputError> {
        let mut groups = vec![Group::of(first.open(format)?, linked)];
        for (join, source) in others {
            let reader = source.open(format)?;
            match groups.last_mut() {
                Some(group) if linked || join == Join::Beside => group.members.push(reader.into()),
                _ => groups.push(Group::of(reader, false)),
            }
        }
        let mut groups = groups.into_iter();
        let first = groups.next().unwrap_or_default();
        Ok(Combined { first, others: Others::Unread(groups.collect()), current: None })
    }

    /// Whether so many inputs are there, so that nobody waits for them.
    pub(super) fn are_there(&self, many: usize) -> bool {
        many == 1 && self.current.is_some() || self.first.are_there(many)
    }

    /// The values of the next input; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Values>, InputError> {
        if let Others::Unread(groups) = &mut self.others {
            let groups = std::mem::take(groups);
            let all = |mut group: Group| -> Result<_, InputError> {
                let mut inputs = Vec::new();
                while let Some(values) = group.next()? {
                    inputs.push(values);
                }
                Ok((inputs, 0))
            };
            self.others = Others::Kept(groups.into_iter().map(all).collect::<Result<_, _>>()?);
        }
        let Others::Kept(others) = &mut self.others else { return Ok(None) };
        if others.is_empty() {
            return self.first.next();
        }
        if others.iter().any(|(inputs, _)| inputs.is_empty()) {
            return Ok(None);
        }
        if self.current.is_none() {
            self.current = self.first.next()?;
        }
        let Some(mut values) = self.current.clone() else { return Ok(None) };
        for (inputs, at) in others.iter() {
            values.extend_from_slice(&inputs[*at]);
        }
        // The last one that is not at its end goes on; those behind it begin again.
        let mut all_again = true;
        for (inputs, at) in others.iter_mut().rev() {
            *at = (*at + 1) % inputs.len();
            if *at > 0 {
                all_again = false;
                break;
            }
        }
        if all_again {
            self.current = None;
        }
        Ok(Some(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: Format = Format { end: b'\n', columns: None };

    fn given(words: &str) -> Source {
        Source::Given(words.split_whitespace().map(Into::into).collect())
    }

    fn sources(linked: bool, parts: &[(Join, &str)]) -> Sources {
        let mut parts = parts.iter().map(|(join, words)| (*join, given(words)));
        let (_, first) = parts.next().unwrap();
        Sources { others: parts.collect(), linked, ..first.into() }
    }

    /// All inputs, as one text a call; checks that they are as many as was said.
    fn all(sources: &Sources) -> Vec<String> {
        let mut inputs = sources.clone().open(&LINES).unwrap();
        let texts: Vec<_> = std::iter::from_fn(|| inputs.next().unwrap())
            .map(|input| String::from_utf8(input.text()).unwrap())
            .collect();
        assert_eq!(sources.count(), Some(texts.len()));
        texts
    }

    #[test]
    fn sources_go_each_with_each_the_last_one_fastest() {
        use Join::Cross;
        assert_eq!(all(&sources(false, &[(Cross, "a b"), (Cross, "1 2")])), ["a 1", "a 2", "b 1", "b 2"]);
        let three = all(&sources(false, &[(Cross, "a b"), (Cross, "1 2"), (Cross, "x y")]));
        assert_eq!(three, ["a 1 x", "a 1 y", "a 2 x", "a 2 y", "b 1 x", "b 1 y", "b 2 x", "b 2 y"]);
        assert!(all(&sources(false, &[(Cross, "a b"), (Cross, "")])).is_empty());
        assert!(all(&sources(false, &[(Cross, ""), (Cross, "1")])).is_empty());
    }

    #[test]
    fn those_side_by_side_end_with_the_shortest() {
        use Join::{Beside, Cross};
        assert_eq!(all(&sources(false, &[(Cross, "a b c"), (Beside, "1 2")])), ["a 1", "b 2"]);
        assert_eq!(all(&sources(false, &[(Cross, "a b"), (Beside, "1 2 3")])), ["a 1", "b 2"]);
        let groups = all(&sources(false, &[(Cross, "a b"), (Beside, "1 2"), (Cross, "X Y")]));
        assert_eq!(groups, ["a 1 X", "a 1 Y", "b 2 X", "b 2 Y"]);
    }

    #[test]
    fn linked_ones_end_with_the_longest() {
        use Join::Cross;
        let linked = sources(true, &[(Cross, "a b"), (Cross, "1 2 3 4"), (Cross, "x")]);
        assert_eq!(all(&linked), ["a 1 x", "b 2 x", "a 3 x", "b 4 x"]);
        assert_eq!(all(&sources(true, &[(Cross, "a b c"), (Cross, "1 2")])), ["a 1", "b 2", "c 1"]);
        assert_eq!(all(&sources(true, &[(Cross, "a b")])), ["a", "b"]);
    }
}
