//! What stands behind an option: times, sizes, numbers of workers.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cli::say::reason;

/// Beyond this a typing error is more likely than an intention.
const MAX_WORKERS: usize = 65_536;

/// A length of time: `10` (seconds), `1.5s`, `200ms`, `5m`, `2h`, `1d`, also several of them: `1h30m`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let bad = || format!("\"{text}\" is no length of time such as 10, 1.5s, 200ms, 5m, 2h, 1d or 1h30m");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let (number, behind) = rest.split_at(end);
        let end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let seconds = match unit {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "" if rest.len() == text.len() => 1.0,
            _ => return Err(bad()),
        };
        let number: f64 = number.parse().map_err(|_| bad())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())?;
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = behind;
    }
    if text.is_empty() { Err(bad()) } else { Ok(total) }
}

/// A number of bytes: `4096`, `64k`, `1.5M`, `2G`, `1T`. Small letters are powers of 1000 as with GNU parallel, large ones
/// of 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let bad = || format!("\"{text}\" is no size such as 4096, 64k (1000), 64K (1024), 1M or 2G");
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let power = |letter: char| "kmgtp".find(letter.to_ascii_lowercase()).map(|at| at as i32 + 1);
    let mut letters = unit.chars();
    let factor = match (letters.next(), letters.as_str()) {
        (None, _) => 1.0,
        (Some(letter), "" | "B" | "iB") => {
            let base: f64 = if letter.is_ascii_uppercase() { 1024.0 } else { 1000.0 };
            base.powi(power(letter).ok_or_else(bad)?)
        }
        _ => return Err(bad()),
    };
    let number: f64 = number.parse().map_err(|_| bad())?;
    let bytes = number * factor;
    if bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(bad()) }
}

/// How many workers there are to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Workers {
    /// So many.
    Count(usize),
    /// So many more than processors, or fewer.
    Beside(isize),
    /// So many for a hundred processors.
    Percent(f64),
    /// What a file says, which is read again while jobs run.
    File(PathBuf),
}

impl Workers {
    /// From the command line.
    pub(crate) fn parse(text: &str) -> Result<Workers, String> {
        match Workers::parse_number(text)? {
            Some(workers) => Ok(workers),
            None if PathBuf::from(text).is_file() => Ok(Workers::File(text.into())),
            None => Err("this is no number of workers (8, 50%, +2, -1), nor a file with one".into()),
        }
    }

    /// From a text that may be something else.
    pub(crate) fn parse_number(text: &str) -> Result<Option<Workers>, String> {
        let text = text.trim();
        if let Some(percent) = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok()) {
            return match percent.is_finite() && percent > 0.0 {
                true => Ok(Some(Workers::Percent(percent))),
                false => Err("there must be at least one worker".into()),
            };
        }
        if text.starts_with(['+', '-']) {
            return Ok(text.parse().ok().map(Workers::Beside));
        }
        match text.parse() {
            Ok(0) => Err("there must be at least one worker".into()),
            Ok(count) if count > MAX_WORKERS => {
                Err(format!("more than {MAX_WORKERS} workers do not fit a machine"))
            }
            Ok(count) => Ok(Some(Workers::Count(count))),
            Err(_) => Ok(None),
        }
    }

    /// How many that is on a machine with so many processors: one at least.
    ///
    /// # Errors
    /// The file cannot be read, or says something else.
    pub(crate) fn count(&self, processors: usize) -> Result<usize, String> {
        let count = match self {
            Workers::Count(count) => *count,
            Workers::Beside(more) => processors.saturating_add_signed(*more),
            Workers::Percent(percent) => (processors as f64 * percent / 100.0) as usize,
            Workers::File(path) => {
                let bad = |why: &str| format!("cannot read how many workers from {}: {why}", path.display());
                let text = std::fs::read_to_string(path).map_err(|error| bad(&reason(&error)))?;
                let number = Workers::parse_number(&text).map_err(|why| bad(&why))?;
                return number.ok_or_else(|| bad("it is no number such as 8, 50% or -1"))?.count(processors);
            }
        };
        Ok(count.clamp(1, MAX_WORKERS))
    }
}

/// How long a job may run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Timeout {
    Time(Duration),
    /// So many hundredths of what half of the jobs have taken at most.
    Percent(f64),
}

impl Timeout {
    pub(crate) fn parse(text: &str) -> Result<Timeout, String> {
        let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
        let timeout = match percent {
            Some(percent) if percent.is_finite() && percent > 0.0 => Timeout::Percent(percent),
            Some(_) => return Err("a job needs some time".into()),
            None => Timeout::Time(time(text)?),
        };
        if timeout == Timeout::Time(Duration::ZERO) {
            Err("a job needs some time".into())
        } else {
            Ok(timeout)
        }
    }
}

/// How a job is ended: signals, and how long after each the next one follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TermSeq(pub(crate) Vec<(Signal, Duration)>);

impl Default for TermSeq {
    fn default() -> TermSeq {
        TermSeq(vec![(Signal::SIGTERM, Duration::from_secs(2))])
    }
}

impl TermSeq {
    /// `TERM,2s,KILL`; a number without a unit means milliseconds, as with GNU parallel. SIGKILL follows in any case.
    pub(crate) fn parse(text: &str) -> Result<TermSeq, String> {
        let mut steps: Vec<(Signal, Duration)> = Vec::new();
        for (at, word) in text.split(',').map(str::trim).enumerate() {
            if at % 2 == 0 {
                steps.push((signal(word)?, Duration::ZERO));
            } else if let Some((_, pause)) = steps.last_mut() {
                *pause = match word.parse() {
                    Ok(millis) => Duration::from_millis(millis),
                    Err(_) => time(word)?,
                };
            }
        }
        // The end of all is always a kill.
        if let Some(kill) = steps.iter().position(|(signal, _)| *signal == Signal::SIGKILL) {
            steps.truncate(kill);
        }
        Ok(TermSeq(steps))
    }
}

fn signal(name: &str) -> Result<Signal, String> {
    let upper = name.to_ascii_uppercase();
    let number = upper.parse::<i32>().ok().and_then(|number| Signal::try_from(number).ok());
    let named =
        || if upper.starts_with("SIG") { upper.parse().ok() } else { format!("SIG{upper}").parse().ok() };
    number.or_else(named).ok_or_else(|| format!("\"{name}\" is no signal; write TERM,2s,KILL"))
}

/// How busy the machine may be before no more jobs are begun: tasks that run or wait for a processor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Load {
    Count(f64),
    /// So many for a hundred processors.
    Percent(f64),
}

impl Load {
    pub(crate) fn parse(text: &str) -> Result<Load, String> {
        let bad = || format!("\"{text}\" is no load such as 4, 1.5 or 100%");
        let (number, percent) = match text.strip_suffix('%') {
            Some(number) => (number, true),
            None => (text, false),
        };
        let number: f64 = number.parse().map_err(|_| bad())?;
        match number.is_finite() && number > 0.0 {
            true if percent => Ok(Load::Percent(number)),
            true => Ok(Load::Count(number)),
            false => Err(bad()),
        }
    }

    pub(crate) fn count(self, processors: usize) -> f64 {
        match self {
            Load::Count(count) => count,
            Load::Percent(percent) => processors as f64 * percent / 100.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let millis = |text: &str| time(text).map(|time| time.as_millis());
        for (text, expected) in [
            ("0", 0),
            ("10", 10_000),
            ("1.5", 1500),
            (".5s", 500),
            ("200ms", 200),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1h30m", 5_400_000),
            ("1m2.5s", 62_500),
        ] {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
        for bad in ["", "s", "-1", "1x", "1 s", "1h30", "1e9", "..", "9999999999999999999999d"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, expected) in [
            ("0", 0),
            ("4096", 4096),
            ("64k", 64_000),
            ("64K", 65_536),
            ("1.5M", 1_572_864),
            ("2GiB", 2 << 30),
            ("1T", 1 << 40),
        ] {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for bad in ["", "k", "-1", "1x", "1KK", "1e30P", "99999999P"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn workers_are_counted_in_several_ways() {
        let count = |text: &str| Workers::parse(text).and_then(|workers| workers.count(8));
        for (text, expected) in
            [("3", 3), ("50%", 4), ("200%", 16), ("1%", 1), ("+2", 10), ("-2", 6), ("-20", 1), ("12.5%", 1)]
        {
            assert_eq!(count(text), Ok(expected), "{text}");
        }
        for bad in ["0", "x", "99999999", "", "0%", "-5%", "/no/such", "/", "NaN%"] {
            assert!(count(bad).is_err(), "{bad}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(Workers::parse(path), Ok(Workers::File(path.into())));
        for (text, expected) in
            [("3\n", Some(3)), (" 50% ", Some(4)), ("", None), ("many", None), ("0", None)]
        {
            std::fs::write(path, text).unwrap();
            assert_eq!(count(path).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_timeout_may_be_relative() {
        assert_eq!(Timeout::parse("300%"), Ok(Timeout::Percent(300.0)));
        assert_eq!(Timeout::parse("1.5"), Ok(Timeout::Time(Duration::from_millis(1500))));
        for bad in ["0", "0%", "-1%", "%", "inf%", ""] {
            assert!(Timeout::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn jobs_are_ended_step_by_step() {
        let millis = Duration::from_millis;
        let steps = |text: &str| TermSeq::parse(text).map(|TermSeq(steps)| steps);
        assert_eq!(
            steps("TERM,200,TERM,100,TERM,50,KILL,25"),
            Ok(vec![
                (Signal::SIGTERM, millis(200)),
                (Signal::SIGTERM, millis(100)),
                (Signal::SIGTERM, millis(50))
            ])
        );
        assert_eq!(
            steps("INT,2s,sigterm,1"),
            Ok(vec![(Signal::SIGINT, millis(2000)), (Signal::SIGTERM, millis(1))])
        );
        assert_eq!(steps("15,5"), Ok(vec![(Signal::SIGTERM, millis(5))]));
        assert_eq!(steps("KILL"), Ok(vec![]));
        for bad in ["", "TERM,x", "NOPE", "TERM,1,", "99"] {
            assert!(steps(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_load_may_be_relative() {
        assert_eq!(Load::parse("1.5").map(|load| load.count(8)), Ok(1.5));
        assert_eq!(Load::parse("50%").map(|load| load.count(8)), Ok(4.0));
        assert!(Load::parse("0").is_err() && Load::parse("x").is_err() && Load::parse("nan").is_err());
    }
}
