//! Options that ask what there is, and run nothing.

use clap::{ArgAction, Args};

use crate::cli::help::Shell;

const ABOUT: &str = "About";

/// What the command tells of itself.
#[derive(Debug, Args)]
pub(crate) struct About {
    /// Show the jobs with their arguments, and what they do
    #[arg(long, help_heading = ABOUT)]
    pub(crate) list: bool,

    /// Print the names of all jobs: shells ask for it
    #[arg(long, hide = true)]
    pub(crate) list_names: bool,

    /// Print the manual page
    #[arg(long, help_heading = ABOUT)]
    pub(crate) man: bool,

    /// Print what makes a shell complete options and jobs
    #[arg(long, value_name = "SHELL", help_heading = ABOUT)]
    pub(crate) completions: Option<Shell>,

    /// Print help: -h on one screen, --help all of it
    #[arg(short, long, action = ArgAction::Help, help_heading = ABOUT)]
    help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = ABOUT)]
    version: Option<bool>,
}
