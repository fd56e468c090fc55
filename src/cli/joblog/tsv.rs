//! The log as GNU parallel writes it: nine columns with tabs between them, each number as wide as there.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use super::done::End;
use super::read::Entry;
use crate::cli::event::Ended;

/// The first line.
pub(super) const HEADER: &[u8] =
    b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

/// The line about a job.
pub(super) fn line(job: &Ended<'_>) -> Vec<u8> {
    let mut line = Vec::with_capacity(80 + job.command.len());
    let start = millis(job.began.duration_since(UNIX_EPOCH).unwrap_or_default());
    let took = millis(job.took);
    // Writing to a `Vec` cannot fail. Whole numbers, because a tiny job takes no longer than to print a float.
    let _ = write!(
        line,
        "{}\t:\t{}.{:03}\t{:>6}.{:03}\t{}\t{}\t{}\t{}\t",
        job.input.number + 1,
        start / 1000,
        start % 1000,
        took / 1000,
        took % 1000,
        job.sent,
        job.received,
        job.status.exit_value(),
        job.status.signal(),
    );
    line.extend(job.command.iter().map(|byte| column(*byte)));
    line.push(b'\n');
    line
}

/// Rounded, as a float would be.
fn millis(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1000).saturating_add((u64::from(time.subsec_micros()) + 500) / 1000)
}

/// A command has one line here, whatever is in it: NUL stands for a newline, as with GNU parallel. A tab stays, since
/// nothing comes behind the command.
fn column(byte: u8) -> u8 {
    if byte == b'\n' { 0 } else { byte }
}

/// What a command's column is known by, within this process.
pub(super) fn check(command: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    let mut block = [0; 256];
    for part in command.chunks(block.len()) {
        for (to, from) in block.iter_mut().zip(part) {
            *to = column(*from);
        }
        hasher.write(&block[..part.len()]);
    }
    hasher.finish()
}

/// What a line says, if it is one. It has no newline.
pub(super) fn parse(line: &[u8]) -> Option<Entry> {
    let mut columns = line.splitn(9, |byte| *byte == b'\t');
    let mut next = || columns.next().and_then(|column| str::from_utf8(column).ok()).map(str::trim);
    let seq = next()?.parse().ok().filter(|seq| *seq > 0)?;
    let _host = next()?;
    for _ in ["start", "runtime", "sent", "received"] {
        next()?.parse::<f64>().ok()?;
    }
    let exit: i64 = next()?.parse().ok()?;
    let signal: i64 = next()?.parse().ok()?;
    let command = columns.next()?;
    let end = if (exit, signal) == (0, 0) { End::Ok } else { End::Failed };
    Some(Entry { seq, end, check: check(command), command: command.to_vec() })
}

/// Whether these bytes can be what was written of a first line.
pub(super) fn may_begin(torn: &[u8]) -> bool {
    HEADER.starts_with(torn) || torn.first().is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ended, input};
    use super::*;
    use crate::cli::event::Status;

    fn text(command: &[u8], status: Status) -> String {
        String::from_utf8(line(&ended(&input(12, &[b"x"]), command, status))).unwrap()
    }

    #[test]
    fn a_line_is_one_of_gnu_parallel() {
        let header = String::from_utf8_lossy(HEADER);
        assert_eq!(header, "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n");
        for (status, exit, signal) in [
            (Status::Ok, 0, 0),
            (Status::Failed { code: 3 }, 3, 0),
            (Status::Killed { signal: 9 }, 0, 9),
            (Status::Crashed { signal: Some(11) }, 0, 11),
            (Status::Crashed { signal: None }, 1, 0),
            (Status::TimedOut, -1, 15),
            (Status::Refused, 1, 0),
        ] {
            let expected = format!("12\t:\t1795423161.494\t     0.038\t5\t3\t{exit}\t{signal}\techo 'a b'\n");
            assert_eq!(text(b"echo 'a b'", status), expected);
        }
    }

    #[test]
    fn times_are_rounded_and_stand_in_line() {
        for (micros, shown) in [
            (0, "     0.000"),
            (499, "     0.000"),
            (500, "     0.001"),
            (59_999_500, "    60.000"),
            (123_456_789_000, "123456.789"),
            (12_345_678_901_000, "12345678.901"),
        ] {
            let input = input(1, &[]);
            let job = Ended { took: Duration::from_micros(micros), ..ended(&input, b"x", Status::Ok) };
            let line = String::from_utf8(line(&job)).unwrap();
            assert_eq!(line.split('\t').nth(3), Some(shown));
        }
    }

    #[test]
    fn a_command_is_one_line() {
        assert!(text(b"a\nb\tc\n", Status::Ok).ends_with("\ta\0b\tc\0\n"));
        assert_eq!(check(b"a\nb"), check(b"a\0b"));
        let long = |last| [&[b'x'; 256][..], last].concat();
        assert!(check(&long(b"a")) != check(&long(b"b")) && check(&long(b"\n")) == check(&long(b"\0")));
    }

    #[test]
    fn lines_of_gnu_parallel_are_read() {
        for (line, seq, end, command) in [
            ("1\t:\t1795423161.494\t     0.038\t0\t0\t0\t0\ttrue", 1, End::Ok, "true"),
            ("3\t:\t1795423161.563\t     0.000\t0\t0\t0\t9\tkill -9 $$", 3, End::Failed, "kill -9 $$"),
            ("2\thost\t1795423163.7\t 12345678.365\t7\t0\t-1\t15\ta\tb", 2, End::Failed, "a\tb"),
            ("7\t:\t1795423163.7\t0.1\t0\t0\t0\t0\t", 7, End::Ok, ""),
        ] {
            let entry = Entry { seq, end, check: check(command.as_bytes()), command: command.into() };
            assert_eq!(parse(line.as_bytes()), Some(entry), "{line}");
        }
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            "",
            "hello",
            "0\t:\t1.0\t0.1\t0\t0\t0\t0\tseq is from 1",
            "1\t:\t1.0\t0.1\t0\t0\t0\t0",
            "1\t:\t1.0\tsoon\t0\t0\t0\t0\tx",
            "1\t:\t1.0\t0.1\t0\t0\tx\t0\tx",
            "99999999999999999999\t:\t1.0\t0.1\t0\t0\t0\t0\tx",
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }
}
