//! Seeing a run work: a bar or lines while it runs, what runs when someone asks, and a summary at the end.
//!
//! A [`Reporter`] is told what happens, on the thread that takes results, and only counts (`counts`) and notes what runs
//! (`running`). A thread of its own (`screen`) looks at that from time to time and shows it: as a `bar`, as `plain` lines
//! or as `json`. All that the command writes goes through [`apart`], so that nothing is written into the bar.

mod bar;
mod counts;
mod json;
mod plain;
mod running;
mod screen;
mod snapshot;
mod summary;
pub(crate) mod units;

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::stat::fstat;

use self::bar::Bar;
use self::counts::Counts;
use self::running::Running;
use self::screen::{PLAIN_PERIOD, Screen, Shape};
use super::ending::CliError;
use super::event::{Ended, Started, Watcher};
use super::say;
pub(crate) use summary::Totals;

/// A run that is over before shows no bar, unless it was asked for.
const BAR_DELAY: Duration = Duration::from_millis(500);
/// A run that takes longer has a summary.
const LONG: Duration = Duration::from_secs(10);
/// How long the end of the command waits for a terminal that stalls.
const PATIENCE: Duration = Duration::from_millis(250);

/// What `--progress` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Progress {
    /// A bar on a terminal, elsewhere a line now and then if it takes long.
    #[default]
    Auto,
    Bar,
    Plain,
    Json,
    None,
}

/// How much is said at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Talk {
    Quiet,
    #[default]
    Normal,
    Verbose,
}

/// What a display is to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) progress: Progress,
    pub(crate) talk: Talk,
    /// Others write to the terminal, be it that someone types inputs: no bar unless it was asked for.
    pub(crate) typed: bool,
}

/// What is known of a run, for those who show it.
struct Run {
    setup: Setup,
    began: Instant,
    /// Processor time of children before the run.
    processor: Duration,
    /// How many inputs there are, if that is known.
    inputs: OnceLock<u64>,
    counts: Counts,
    running: Running,
    screen: Mutex<Screen>,
    /// The screen is to be shown, or hidden, or no more.
    changed: Condvar,
    /// A bar may stand in the way of what others write.
    draws: AtomicBool,
}

impl Run {
    /// How many jobs there are to run, if that is known: all inputs, but for those that an earlier run has done.
    fn total(&self) -> Option<u64> {
        let inputs = self.inputs.get()?;
        Some(inputs.saturating_sub(self.counts.left_out()))
    }

    fn lock(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The display that all who write have to mind.
static DISPLAY: OnceLock<Display> = OnceLock::new();

/// Writes a text to the terminal while no bar is in the way. Must not be called by what it calls.
pub(crate) fn apart<R>(text: &[u8], write: impl FnOnce() -> R) -> R {
    match DISPLAY.get() {
        Some(display) => display.0.apart(text, write),
        None => write(),
    }
}

/// The display of this process's run, for those who end it or take its signals; `None` as long as there is none.
pub(crate) fn current() -> Option<&'static Display> {
    DISPLAY.get()
}

/// Whether what is written to standard output appears where the bar is.
pub(crate) fn shares_terminal() -> bool {
    let device = |fd: std::os::fd::BorrowedFd<'_>| fstat(fd).ok().map(|stat| stat.st_rdev);
    let (out, err) = (std::io::stdout(), std::io::stderr());
    bar::is_drawable() && device(out.as_fd()) == device(err.as_fd())
}

/// What one sees of a run. Its methods may be called on any thread, but not in a signal handler.
#[derive(Clone)]
pub(crate) struct Display(Arc<Run>);

impl Display {
    /// The display of this process's run. Signals must be blocked by now: it may start a thread.
    pub(crate) fn open(setup: Setup) -> Display {
        let display = Display::new(setup);
        display.0.keep_fresh();
        // There is one run in a process.
        DISPLAY.get_or_init(|| display).clone()
    }

    fn new(setup: Setup) -> Display {
        let Setup { progress, talk, typed } = setup;
        let bar = match progress {
            Progress::Auto if typed => None,
            Progress::Plain | Progress::Json => None,
            Progress::Auto | Progress::Bar | Progress::None => Bar::new(),
        };
        let draws = bar.is_some();
        let (shape, delay) = match (bar, progress) {
            (Some(bar), Progress::Auto) => (Shape::Bar(bar), BAR_DELAY),
            (Some(bar), _) => (Shape::Bar(bar), Duration::ZERO),
            (None, Progress::Json) => (Shape::Json, Duration::from_secs(1)),
            (None, _) => (Shape::Plain, PLAIN_PERIOD),
        };
        let shown = match progress {
            Progress::None => false,
            Progress::Auto => talk != Talk::Quiet,
            _ => true,
        };
        let began = Instant::now();
        Display(Arc::new(Run {
            setup,
            began,
            processor: summary::processor_time(),
            inputs: OnceLock::new(),
            counts: Counts::default(),
            running: Running::default(),
            screen: Mutex::new(Screen::new(shape, shown, began + delay)),
            changed: Condvar::new(),
            draws: AtomicBool::new(draws),
        }))
    }

    /// Notes how many inputs there will be. The first word counts.
    pub(crate) fn expect(&self, total: u64) {
        let _ = self.0.inputs.set(total);
    }

    /// Who has to be told what happens.
    pub(crate) fn reporter(&self) -> Reporter {
        Reporter { display: self.clone(), listed: Vec::new() }
    }

    /// Writes what runs to standard error.
    pub(crate) fn list_running(&self) {
        let (jobs, _) = self.0.running.oldest(usize::MAX, Duration::ZERO);
        let done = self.0.counts.sums().done();
        let of = self.0.total().map(|total| format!(" of {total}")).unwrap_or_default();
        let mut text = format!("{}: {} running, {done}{of} done\n", say::program(), jobs.len());
        for job in jobs {
            text += &job.line(job.pid.and_then(running::resident));
        }
        say::write_all(text.as_bytes());
    }

    /// Shows progress if it is not shown, and hides it otherwise.
    pub(crate) fn toggle(&self) {
        self.0.lock().toggle();
        self.0.keep_fresh();
    }

    /// Gives the terminal back, before the command is stopped.
    pub(crate) fn pause(&self) {
        if let Some(mut screen) = self.0.lock_within(PATIENCE) {
            screen.pause();
        }
    }

    /// Goes on after [`pause`](Self::pause).
    pub(crate) fn resume(&self) {
        self.0.lock().resume();
        self.0.keep_fresh();
    }

    /// Shows nothing more: what is written from now on stays as it is. To be called before the process ends, however it
    /// does.
    pub(crate) fn close(&self) {
        if let Some(mut screen) = self.0.lock_within(PATIENCE) {
            screen.close(&self.0);
        }
        self.0.draws.store(false, Ordering::Relaxed);
        self.0.changed.notify_all();
    }

    /// What is to be said at the end, a line each. Workers must have been waited for, or their time is missing.
    ///
    /// A run that was looked at, or was long, or about which more is to be said, is told of in full; any other only if
    /// something went wrong.
    pub(crate) fn summary(&self, totals: Totals) -> Vec<String> {
        let Run { setup, began, processor, counts, .. } = &*self.0;
        let (took, sums) = (began.elapsed(), counts.sums());
        let asked_for = matches!(setup.progress, Progress::Bar | Progress::Plain);
        let looked_at = || asked_for || self.0.lock().was_bar();
        match setup.talk {
            Talk::Quiet => Vec::new(),
            Talk::Normal if took < LONG && !looked_at() => {
                summary::brief(sums, totals.skipped).into_iter().collect()
            }
            _ => {
                let processor = summary::processor_time().saturating_sub(*processor);
                summary::full(sums, totals, took, processor, counts.quantiles())
            }
        }
    }
}

/// Tells a [`Display`] what happens.
pub(crate) struct Reporter {
    display: Display,
    /// The places whose jobs are in the table of what runs: of those that are over in a moment nobody ever heard.
    listed: Vec<bool>,
}

impl Watcher for Reporter {
    fn started(&mut self, job: &Started<'_>) {
        if self.listed.len() <= job.slot {
            self.listed.resize(job.slot + 1, false);
        }
        self.listed[job.slot] = true;
        self.display.0.running.add(job);
    }

    fn ended(&mut self, job: &Ended<'_>) -> Result<(), CliError> {
        if let Some(slot) = job.slot
            && let Some(listed) = self.listed.get_mut(slot)
            && std::mem::take(listed)
        {
            self.display.0.running.remove(slot);
        }
        if !job.again {
            self.display.0.counts.count(job);
        }
        Ok(())
    }

    fn left_out(&mut self) {
        self.display.0.counts.leave_out();
    }

    fn close(&mut self) -> Result<(), CliError> {
        self.display.close();
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
