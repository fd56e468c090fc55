//! The log as JSON: an object a line, with all that is known of a job.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize, Serializer};

use super::done::End;
use super::key::{Key, Run};
use super::read::Entry;
use crate::cli::builtin::Text;
use crate::cli::event::{Ended, Status};

/// What a line begins with.
const BEGIN: &[u8] = b"{\"seq\":";

/// A line. What is not known is `null`.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    job: &'a str,
    args: Vec<Shown<'a>>,
    command: Shown<'a>,
    status: &'static str,
    exitval: i32,
    signal: i32,
    /// Since 1970, in seconds, as all times.
    start: f64,
    runtime: f64,
    attempts: u32,
    /// From 1, as `{%}`.
    slot: Option<usize>,
    pid: Option<u32>,
    user: Option<f64>,
    system: Option<f64>,
    max_rss: Option<u64>,
    send: u64,
    receive: u64,
    error: Option<&'a str>,
    key: &'a str,
}

/// A text where it is UTF-8, else a list of numbers, so that nothing is lost.
struct Shown<'a>(&'a [u8]);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.serialize_bytes(self.0),
        }
    }
}

/// Seconds to the microsecond: as many digits as a float has for a time of today.
fn seconds(time: Duration) -> f64 {
    let micros = time.as_secs().saturating_mul(1_000_000).saturating_add(time.subsec_micros().into());
    micros as f64 / 1e6
}

/// The line about a job.
pub(super) fn line(run: &Run, job: &Ended<'_>) -> io::Result<Vec<u8>> {
    let key = run.key(job.input, job.command).text();
    let line = Line {
        seq: job.input.number + 1,
        job: run.job(),
        args: job.input.values.iter().map(|value| Shown(value)).collect(),
        command: Shown(job.command),
        status: job.status.name(),
        exitval: job.status.exit_value(),
        signal: job.status.signal(),
        start: seconds(job.began.duration_since(UNIX_EPOCH).unwrap_or_default()),
        runtime: seconds(job.took),
        attempts: job.attempt,
        slot: job.slot.map(|slot| slot + 1),
        pid: job.pid,
        user: job.usage.map(|usage| seconds(usage.user)),
        system: job.usage.map(|usage| seconds(usage.system)),
        max_rss: job.usage.map(|usage| usage.max_rss),
        send: job.sent,
        receive: job.received,
        error: job.error,
        key: &key,
    };
    let mut bytes = Vec::with_capacity(384 + job.command.len() + job.input.len());
    serde_json::to_writer(&mut bytes, &line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// What matters of a line that is read back.
#[derive(Deserialize)]
struct Read<'a> {
    seq: u64,
    status: &'a str,
    key: &'a str,
    command: Text,
}

/// What a line says, if it is one. It has no newline.
pub(super) fn parse(line: &[u8]) -> Option<Entry> {
    let read: Read<'_> = serde_json::from_slice(line).ok()?;
    let end = match read.status {
        ok if ok == Status::Ok.name() => End::Ok,
        ended if ended == Status::Ended.name() => End::Interrupted,
        _ => End::Failed,
    };
    let check = Key::check_of(read.key)?;
    (read.seq > 0).then_some(Entry { seq: read.seq, end, check, command: read.command.0 })
}

/// Whether these bytes can be what was written of a first line.
pub(super) fn may_begin(torn: &[u8]) -> bool {
    BEGIN.starts_with(torn) || torn.starts_with(BEGIN)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ended, input};
    use super::*;

    #[test]
    fn a_line_says_all_that_is_known() {
        let (run, input) = (Run::of("sh", b""), input(12, &[b"a\"b", b"\xff"]));
        let job = Ended { error: Some("it ended"), ..ended(&input, b"x 'a\"b'", Status::Failed { code: 3 }) };
        let key = run.key(&input, job.command);
        let expected = r#"{"seq":12,"job":"sh","args":["a\"b",[255]],"command":"x 'a\"b'","status":"failed",
            "exitval":3,"signal":0,"start":1795423161.494127,"runtime":0.038499,"attempts":2,"slot":1,"pid":77,
            "user":0.02,"system":0.0015,"max_rss":4096,"send":5,"receive":3,"error":"it ended","key":""#;
        let expected = expected.replace("\n            ", "");
        assert_eq!(
            String::from_utf8(line(&run, &job).unwrap()).unwrap(),
            format!("{expected}{}\"}}\n", key.text())
        );
    }

    #[test]
    fn what_is_not_known_is_null() {
        let (run, input) = (Run::of("sh", b""), input(1, &[]));
        let job = Ended { slot: None, pid: None, usage: None, ..ended(&input, b"x", Status::Refused) };
        let line: serde_json::Value = serde_json::from_slice(&line(&run, &job).unwrap()).unwrap();
        for unknown in ["slot", "pid", "user", "system", "max_rss", "error"] {
            assert!(line[unknown].is_null(), "{unknown}");
        }
        assert_eq!((&line["args"], &line["status"]), (&serde_json::json!([]), &serde_json::json!("refused")));
    }

    #[test]
    fn a_line_is_read_back() {
        let (run, input) = (Run::of("sh", b""), input(3, &[b"v"]));
        for (status, end) in [
            (Status::Ok, End::Ok),
            (Status::Failed { code: 1 }, End::Failed),
            (Status::TimedOut, End::Failed),
            (Status::Ended, End::Interrupted),
        ] {
            for command in [&b"a\nb\""[..], b"\xff"] {
                let line = line(&run, &ended(&input, command, status)).unwrap();
                let check = run.key(&input, command).check();
                let entry = Entry { seq: 3, end, check, command: command.into() };
                assert_eq!(parse(line.trim_ascii_end()), Some(entry));
            }
        }
    }

    #[test]
    fn other_lines_are_none() {
        let good = r#"{"seq":1,"status":"ok","key":"00000000000000000000000000000000","command":"x"}"#;
        assert!(parse(good.as_bytes()).is_some());
        for (from, to) in [("1", "0"), ("1", "-1"), ("\"ok\"", "1"), ("\"0", "\"x"), ("0\"", "\""), ("}", "")]
        {
            let bad = good.replace(from, to);
            assert!(parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(parse(b"").is_none() && parse(b"{}").is_none() && parse(b"[]").is_none());
    }
}
