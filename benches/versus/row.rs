//! What is known of one figure of one side after all rounds.

use serde::{Deserialize, Serialize};

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Less,
    More,
}

impl Better {
    /// How many times better than `theirs` is `ours`?
    pub(crate) fn times(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Better::Less => theirs / ours,
            Better::More => ours / theirs,
        }
    }
}

/// Where a row stands in the plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rank {
    /// It stands for its case.
    Headline,
    Detail,
}

/// The rounds of one figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` if there is nothing, or nothing finite.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Some(Spread { min, median, max })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) figure: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
    pub(crate) rank: Rank,
    /// Sidestep, or what it is compared with.
    pub(crate) side: String,
    pub(crate) value: Option<Spread>,
    /// How many times better Sidestep is, each round by itself; above 1 it is the better one.
    pub(crate) ratio: Option<Spread>,
    /// Why there is no value.
    pub(crate) missing: Option<String>,
}
