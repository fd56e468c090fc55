//! A pool that several programs share.

use std::time::Duration;

use clap::Args;

use super::{SHARING, values};

/// `--serve`, `--attach`, and what needs them.
#[derive(Debug, Args)]
pub(crate) struct Shared {
    /// Keep workers warm and lend them to whoever attaches to NAME
    #[arg(long, value_name = "NAME", conflicts_with_all = ["attach", "words"], help_heading = SHARING)]
    pub(crate) serve: Option<String>,

    /// End after T without anybody
    #[arg(long, value_name = "T", value_parser = values::time, requires = "serve", help_heading = SHARING)]
    pub(crate) idle_timeout: Option<Duration>,

    /// Use the workers that are kept warm under NAME
    #[arg(long, value_name = "NAME", conflicts_with_all = ["exe", "recycle", "max_rss", "nice"],
        help_heading = SHARING)]
    pub(crate) attach: Option<String>,

    /// Show what they do, and for whom
    #[arg(long, requires = "attach", conflicts_with = "words", help_heading = SHARING)]
    pub(crate) status: bool,
}
