//! Sides that are measured in turns, round by round.

use crate::Outcome;
use crate::row::{Better, Rank, Row, Spread};

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Full,
    /// Enough to see that it works.
    Quick,
}

/// What is asked of a case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) case: &'static str,
    pub(crate) rounds: usize,
    pub(crate) size: Size,
}

impl Plan {
    pub(crate) fn size<T>(&self, full: T, quick: T) -> T {
        match self.size {
            Size::Full => full,
            Size::Quick => quick,
        }
    }

    /// The same with fewer rounds, for what takes long.
    pub(crate) fn at_most(&self, rounds: usize) -> Plan {
        Plan { rounds: self.rounds.min(rounds), ..*self }
    }
}

/// What is measured, and in what.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    better: Better,
    rank: Rank,
}

impl Figure {
    pub(crate) fn less(name: impl Into<String>, unit: &'static str) -> Figure {
        Figure { name: name.into(), unit, better: Better::Less, rank: Rank::Detail }
    }

    pub(crate) fn more(name: impl Into<String>, unit: &'static str) -> Figure {
        Figure { better: Better::More, ..Figure::less(name, unit) }
    }

    /// The plot shows it.
    pub(crate) fn headline(self) -> Figure {
        Figure { rank: Rank::Headline, ..self }
    }
}

/// One value for each figure.
type Turn<'a> = Box<dyn FnMut() -> Outcome<Vec<f64>> + 'a>;

struct Side<'a> {
    name: String,
    turn: Turn<'a>,
    /// Of each round.
    values: Vec<Vec<f64>>,
    missing: Option<String>,
}

/// Some figures, and who is compared. The first side is Sidestep.
pub(crate) struct Experiment<'a> {
    figures: Vec<Figure>,
    sides: Vec<Side<'a>>,
}

impl<'a> Experiment<'a> {
    pub(crate) fn new(figures: impl Into<Vec<Figure>>) -> Experiment<'a> {
        Experiment { figures: figures.into(), sides: Vec::new() }
    }

    /// A side whose every turn is one call of `turn`.
    pub(crate) fn side(
        mut self,
        name: impl Into<String>,
        turn: impl FnMut() -> Outcome<Vec<f64>> + 'a,
    ) -> Experiment<'a> {
        self.sides.push(Side { name: name.into(), turn: Box::new(turn), values: Vec::new(), missing: None });
        self
    }

    /// A side that needs something which may be missing.
    pub(crate) fn side_with<T: 'a>(
        self,
        name: impl Into<String>,
        tool: Outcome<T>,
        mut turn: impl FnMut(&mut T) -> Outcome<Vec<f64>> + 'a,
    ) -> Experiment<'a> {
        let mut tool = tool.map_err(|error| error.to_string());
        self.side(name, move || match &mut tool {
            Ok(tool) => turn(tool),
            Err(why) => Err(why.clone().into()),
        })
    }

    pub(crate) fn run(mut self, plan: &Plan) -> Vec<Row> {
        for _ in 0..plan.rounds {
            // What has failed once is not tried again: it may have waited for long.
            for side in self.sides.iter_mut().filter(|side| side.missing.is_none()) {
                match (side.turn)() {
                    Ok(values) => side.values.push(values),
                    Err(why) => side.missing = Some(why.to_string()),
                }
            }
        }
        self.rows(plan.case)
    }

    fn rows(&self, case: &str) -> Vec<Row> {
        let mut rows = Vec::new();
        for (at, figure) in self.figures.iter().enumerate() {
            let column = |side: &Side| -> Vec<f64> {
                side.values.iter().filter_map(|values| values.get(at).copied()).collect()
            };
            let ours = self.sides.first().map(column).unwrap_or_default();
            for (place, side) in self.sides.iter().enumerate() {
                let theirs = column(side);
                if theirs.is_empty() && side.missing.is_none() {
                    // A figure that this side does not have.
                    continue;
                }
                let times =
                    ours.iter().zip(&theirs).map(|(ours, theirs)| figure.better.times(*ours, *theirs));
                rows.push(Row {
                    case: case.to_owned(),
                    figure: figure.name.clone(),
                    unit: figure.unit.to_owned(),
                    better: figure.better,
                    rank: figure.rank,
                    side: side.name.clone(),
                    value: Spread::of(theirs.iter().copied()),
                    ratio: if place == 0 { None } else { Spread::of(times) },
                    missing: side.missing.clone(),
                });
            }
        }
        rows
    }
}
