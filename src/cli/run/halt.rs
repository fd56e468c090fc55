//! Counts how jobs end, and says when that is reason enough to end the run.

use crate::cli::event::Status;
use crate::cli::options::{Halt, Many, When, Why};

/// Jobs that have to have ended before a percentage of an unknown number of them means anything.
const ENOUGH: u64 = 3;

/// How jobs have ended so far, and the rule.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) ok: u64,
    pub(super) failed: u64,
    rule: Option<Halt>,
    /// What the exit code is, if the rule has ended the run.
    pub(super) halted: Option<u8>,
}

impl Count {
    pub(super) fn new(rule: Option<Halt>) -> Count {
        Count { rule, ..Count::default() }
    }

    /// A job is over. `total`: how many there are, if that is known. Says what is to become of the run, if it is to end.
    pub(super) fn add(&mut self, status: Status, total: Option<u64>) -> Option<When> {
        let ok = status == Status::Ok;
        if ok {
            self.ok += 1
        } else {
            self.failed += 1
        }
        let rule = self.rule.filter(|_| self.halted.is_none())?;
        let (counts, count) = match rule.why {
            Why::Fail => (!ok, self.failed),
            Why::Success => (ok, self.ok),
            Why::Done => (true, self.ok + self.failed),
        };
        let ended = self.ok + self.failed;
        let all = total.unwrap_or(ended).max(1);
        let enough = match rule.many {
            Many::Count(most) => count >= most,
            Many::Percent(percent) => {
                (total.is_some() || ended >= ENOUGH) && count as f64 * 100.0 >= percent * all as f64
            }
        };
        if !(counts && enough) {
            return None;
        }
        // As GNU parallel has it: of one failure its own code, of several their number, of a share the share.
        self.halted = Some(match (rule.why, rule.many) {
            (Why::Success, _) => 0,
            (_, Many::Count(1)) => code_of(status),
            (_, Many::Count(_)) => self.failed.min(101) as u8,
            (_, Many::Percent(_)) => (self.failed * 100).div_ceil(all).min(100) as u8,
        });
        Some(rule.when)
    }
}

/// The exit code of a run that ends for one job, as a shell would tell that job's end.
fn code_of(status: Status) -> u8 {
    match status {
        Status::Ok => 0,
        Status::Failed { code } => code.clamp(1, 255) as u8,
        Status::Killed { signal } | Status::Crashed { signal: Some(signal) } => 128 + (signal & 127) as u8,
        Status::Crashed { signal: None } | Status::TimedOut | Status::Ended | Status::Refused => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Jobs by their exit codes: after how many the run ends, and with which code.
    fn ends(rule: &str, codes: &[i32], known: bool) -> Option<(usize, u8)> {
        let mut count = Count::new(Halt::parse(rule).unwrap());
        let total = known.then_some(codes.len() as u64);
        let mut ends = codes.iter().map(|code| match code {
            0 => count.add(Status::Ok, total),
            code => count.add(Status::Failed { code: *code }, total),
        });
        let at = ends.position(|when| when.is_some())?;
        drop(ends);
        Some((at + 1, count.halted?))
    }

    /// What GNU parallel 20221122 does with the same jobs, one at a time.
    #[test]
    fn it_ends_when_gnu_parallel_does() {
        let ten = [0, 3, 0, 5, 0, 0, 7, 0, 0, 0];
        for (rule, codes, expected) in [
            ("never", &ten[..], None),
            ("now,fail=1", &ten, Some((2, 3))),
            ("soon,fail=2", &ten, Some((4, 2))),
            ("soon,fail=30%", &ten, Some((7, 30))),
            ("now,fail=50%", &ten, None),
            ("soon,success=30%", &ten, Some((5, 0))),
            ("soon,done=30%", &ten, Some((3, 10))),
            ("now,done=2", &ten, Some((2, 1))),
            ("now,success=2", &ten, Some((3, 0))),
            ("soon,fail=30%", &[1; 6], Some((2, 34))),
            ("soon,fail=3", &[1; 6], Some((3, 3))),
        ] {
            assert_eq!(ends(rule, codes, true), expected, "{rule}");
        }
    }

    #[test]
    fn a_share_of_an_unknown_number_needs_some_jobs() {
        assert_eq!(ends("now,fail=10%", &[1, 0, 0, 1, 0], false), Some((4, 50)));
        assert_eq!(ends("now,success=10%", &[0; 5], false), Some((3, 0)));
    }

    #[test]
    fn one_failure_gives_its_code() {
        let code = |status| {
            let mut count = Count::new(Halt::parse("2").unwrap());
            count.add(status, None);
            count.halted
        };
        assert_eq!(code(Status::Killed { signal: 9 }), Some(137));
        assert_eq!(code(Status::Failed { code: 255 }), Some(255));
        assert_eq!(code(Status::TimedOut), Some(1));
    }
}
