//! What is said at the end of a run.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::counts::{Quantiles, Sums};
use super::units::human_time;

/// What the run itself knows at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Inputs that were read and not run.
    pub(crate) skipped: u64,
    /// Workers that were replaced because they had died.
    pub(crate) restarts: u64,
}

/// Processor time of all children that have ended and were waited for, and of theirs: [`getrusage`] knows.
pub(super) fn processor_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Duration::ZERO };
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.try_into().unwrap_or(0))
}

/// What is said of a short run that nobody asked about: only what went wrong.
pub(super) fn brief(sums: Sums, skipped: u64) -> Option<String> {
    let not_run = if skipped > 0 { format!(", {skipped} not run") } else { String::new() };
    match sums.bad() {
        0 if skipped == 0 => None,
        // What is to be said of that one has been said.
        1 if skipped == 0 && sums.done() == 1 => None,
        bad => Some(format!("{bad} of {} jobs failed{not_run}", sums.done())),
    }
}

/// What is said of a run in all other cases: one line, and one for how long jobs took.
pub(super) fn full(
    sums: Sums,
    totals: Totals,
    took: Duration,
    processor: Duration,
    quantiles: Option<Quantiles>,
) -> Vec<String> {
    let Sums { ok, failed, crashed, timed_out, ended } = sums;
    let mut parts = vec![format!("{ok} ok")];
    let all = [
        (failed, "failed"),
        (crashed, "crashed"),
        (timed_out, "timed out"),
        (ended, "ended early"),
        (totals.skipped, "not run"),
    ];
    parts.extend(all.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    let mut line = format!("{} in {}: {}", counted(sums.done(), "job"), human_time(took), parts.join(", "));
    if totals.restarts > 0 {
        line += &format!("; {} restarted", counted(totals.restarts, "worker"));
    }
    let mut lines = vec![line];
    if let Some(Quantiles { p50, p90, p99, max }) = quantiles {
        let [p50, p90, p99, max, processor] = [p50, p90, p99, max, processor].map(human_time);
        // Short enough for 80 columns.
        lines.push(format!("times p50 {p50}, p90 {p90}, p99 {p99}, max {max}; processor {processor}"));
    }
    lines
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMS: Sums = Sums { ok: 990, failed: 2, crashed: 1, timed_out: 4, ended: 3 };

    #[test]
    fn a_short_run_tells_only_what_went_wrong() {
        assert_eq!(brief(SUMS, 0).unwrap(), "10 of 1000 jobs failed");
        assert_eq!(brief(SUMS, 5).unwrap(), "10 of 1000 jobs failed, 5 not run");
        let well = Sums { ok: 3, ..Sums::default() };
        assert_eq!(brief(well, 0), None);
        let alone = Sums { failed: 1, ..Sums::default() };
        assert_eq!(brief(alone, 0), None);
        assert_eq!(brief(alone, 5).unwrap(), "1 of 1 jobs failed, 5 not run");
        assert_eq!(brief(well, 5).unwrap(), "0 of 3 jobs failed, 5 not run");
    }

    #[test]
    fn the_full_summary_has_two_lines() {
        let millis = Duration::from_millis;
        let quantiles =
            Quantiles { p50: millis(200), p90: millis(1100), p99: millis(4000), max: millis(12_300) };
        let totals = Totals { skipped: 5, restarts: 1 };
        assert_eq!(
            full(SUMS, totals, millis(26_100), millis(400_000), Some(quantiles)),
            [
                "1000 jobs in 26.1 s: 990 ok, 2 failed, 1 crashed, 4 timed out, 3 ended early, 5 not run; \
                 1 worker restarted",
                "times p50 0.2 s, p90 1.1 s, p99 4.0 s, max 12.3 s; processor 6m 40s",
            ]
        );
    }

    #[test]
    fn what_did_not_happen_is_not_told() {
        let one = Sums { ok: 1, ..Sums::default() };
        let lines = full(one, Totals::default(), Duration::from_secs(1), Duration::ZERO, None);
        assert_eq!(lines, ["1 job in 1.0 s: 1 ok"]);
    }
}
