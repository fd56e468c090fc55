//! `--trace FILE.json`: when each job ran, in the format of Chrome's traces, which Perfetto and `chrome://tracing` open.
//!
//! Jobs are written as they end, so that a run of any length needs the same memory. Nothing but whole events is written: if
//! the command is killed only the closing bracket is missing, which both programs do without.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Value, json};

use super::ending::CliError;
use super::event::{Ended, Status, Watcher};

/// Bytes that are written at once,
const BUFFER: usize = 64 << 10;
/// or what jobs ended within this time.
const OFTEN: Duration = Duration::from_secs(1);
/// Characters of a job's name.
const NAME: usize = 80;
/// Characters of what is told of it.
const TEXT: usize = 1000;

/// Writes a trace of a run.
#[derive(Debug)]
pub(crate) struct Trace {
    path: PathBuf,
    file: File,
    began: SystemTime,
    /// Whole events that are not written yet.
    buffer: Vec<u8>,
    written: SystemTime,
    /// Slots that have a name.
    named: usize,
}

/// One event. Times are microseconds.
#[derive(Serialize)]
struct Event<'a> {
    name: &'a str,
    cat: &'a str,
    ph: &'a str,
    ts: Micros,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<Micros>,
    pid: u32,
    tid: usize,
    /// Whom an event without a duration is about: the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cname: Option<&'a str>,
    args: Value,
}

/// Nanoseconds, written as microseconds.
struct Micros(i128);

impl Serialize for Micros {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 1e3)
    }
}

impl Trace {
    /// Begins the trace of a run that begins now.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn create(path: &Path, command: &str, began: SystemTime) -> Result<Trace, CliError> {
        let file = File::create(path).map_err(|cause| CliError::File { path: path.to_owned(), cause })?;
        let mut trace =
            Trace { path: path.to_owned(), file, began, buffer: Vec::new(), written: began, named: 0 };
        trace.buffer.extend_from_slice(b"[\n");
        let name = start(command, TEXT);
        trace
            .add_name("process_name", 0, json!({ "name": name }), false)
            .map_err(|cause| trace.error(cause))?;
        Ok(trace)
    }

    fn error(&self, cause: io::Error) -> CliError {
        CliError::File { path: self.path.clone(), cause }
    }

    /// Adds an event to the buffer.
    fn add(&mut self, event: &impl Serialize, follows: bool) -> io::Result<()> {
        if follows {
            self.buffer.extend_from_slice(b",\n");
        }
        serde_json::to_writer(&mut self.buffer, event).map_err(io::Error::from)
    }

    fn add_name(&mut self, what: &str, slot: usize, args: Value, follows: bool) -> io::Result<()> {
        let event = json!({ "name": what, "ph": "M", "pid": std::process::id(), "tid": slot, "args": args });
        self.add(&event, follows)
    }

    /// Names the slots up to this one, from 1.
    fn name_slots(&mut self, slot: usize) -> io::Result<()> {
        while self.named < slot {
            self.named += 1;
            let name = format!("slot {}", self.named);
            self.add_name("thread_name", self.named, json!({ "name": name }), true)?;
            self.add_name("thread_sort_index", self.named, json!({ "sort_index": self.named }), true)?;
        }
        Ok(())
    }

    fn add_job(&mut self, job: &Ended<'_>) -> io::Result<()> {
        let slot = job.slot.map_or(0, |slot| slot + 1);
        self.name_slots(slot)?;
        let input = String::from_utf8_lossy(&job.input.text()).into_owned();
        let about =
            if input.is_empty() { String::from_utf8_lossy(job.command) } else { input.as_str().into() };
        let event = Event {
            name: start(&about, NAME),
            cat: job.status.name(),
            ph: if job.slot.is_some() { "X" } else { "i" },
            ts: Micros(nanos_after(self.began, job.began)),
            dur: job.slot.map(|_| Micros(job.took.as_nanos() as i128)),
            pid: std::process::id(),
            tid: slot,
            s: job.slot.is_none().then_some("p"),
            cname: colour(job.status),
            args: told(job, &input),
        };
        self.add(&event, true)
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Watcher for Trace {
    fn ended(&mut self, job: &Ended<'_>) -> Result<(), CliError> {
        self.add_job(job).map_err(|cause| self.error(cause))?;
        let now = job.began + job.took;
        if self.buffer.len() >= BUFFER || now.duration_since(self.written).is_ok_and(|time| time >= OFTEN) {
            self.written = now;
            self.write().map_err(|cause| self.error(cause))?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), CliError> {
        self.buffer.extend_from_slice(b"\n]\n");
        self.write().map_err(|cause| self.error(cause))
    }
}

/// What is told of a job beside its times.
fn told(job: &Ended<'_>, input: &str) -> Value {
    let mut args = json!({ "seq": job.input.number + 1, "status": job.status.name() });
    let mut add = |name: &str, value: Value| args[name] = value;
    if !input.is_empty() {
        add("input", start(input, TEXT).into());
    }
    if !job.command.is_empty() {
        add("command", start(&String::from_utf8_lossy(job.command), TEXT).into());
    }
    if job.status != Status::Ok {
        add("exit", job.status.exit_value().into());
        add("signal", job.status.signal().into());
    }
    if let Some(error) = job.error {
        add("error", start(error, TEXT).into());
    }
    if job.again || job.attempt > 1 {
        add("attempt", job.attempt.into());
    }
    if let Some(pid) = job.pid {
        add("process", pid.into());
    }
    if let Some(usage) = job.usage {
        add("cpu_ms", ((usage.user + usage.system).as_secs_f64() * 1e3).into());
        add("max_rss", usage.max_rss.into());
    }
    args
}

/// One of the colours that `chrome://tracing` has names for.
fn colour(status: Status) -> Option<&'static str> {
    match status {
        Status::Ok => None,
        Status::Failed { .. } | Status::Killed { .. } | Status::Crashed { .. } => Some("terrible"),
        Status::TimedOut => Some("bad"),
        Status::Ended | Status::Refused => Some("grey"),
    }
}

/// So many characters of a text's begin.
fn start(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

/// From one moment to another one. Clocks are set: it may be before.
fn nanos_after(origin: SystemTime, at: SystemTime) -> i128 {
    match at.duration_since(origin) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::tests::{Job, origin};

    fn trace(jobs: &[Job]) -> (tempfile::NamedTempFile, Trace) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut trace = Trace::create(file.path(), "wc <x>", origin()).unwrap();
        jobs.iter().for_each(|job| job.tell(|ended| trace.ended(ended).unwrap()));
        (file, trace)
    }

    fn events(jobs: &[Job]) -> Vec<Value> {
        let (file, mut trace) = trace(jobs);
        trace.close().unwrap();
        serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap()
    }

    #[test]
    fn jobs_are_complete_events_in_their_slots() {
        let jobs = [
            Job { began: 1000, slot: Some(0), ..Job::ok(0, 250) },
            Job { began: 500, slot: Some(2), stderr: b"oh".into(), ..Job::failed(1, 9000) },
        ];
        let events = events(&jobs);
        let jobs: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
        assert_eq!((jobs[0]["ts"].as_f64(), jobs[0]["dur"].as_f64()), (Some(1000.0), Some(250.0)));
        assert_eq!((jobs[0]["tid"].as_u64(), jobs[0].get("cname")), (Some(1), None));
        assert_eq!(
            (&jobs[1]["tid"], &jobs[1]["cname"], &jobs[1]["cat"]),
            (&3.into(), &"terrible".into(), &"failed".into())
        );
        assert_eq!((&jobs[1]["args"]["seq"], &jobs[1]["args"]["exit"]), (&2.into(), &3.into()));
        let names: Vec<_> = events.iter().filter(|event| event["name"] == "thread_name").collect();
        let tids: Vec<_> = names.iter().map(|name| name["tid"].as_u64().unwrap()).collect();
        assert_eq!(tids, [1, 2, 3]);
        assert!(events.iter().all(|event| event["pid"] == std::process::id()));
    }

    #[test]
    fn any_text_is_json() {
        let hostile = b"\"\\\n\xff\x00</script>\xe2\x80\xa8".to_vec();
        let events = events(&[Job { input: hostile.clone(), ..Job::ok(0, 1) }]);
        assert_eq!(events.last().unwrap()["args"]["input"], String::from_utf8_lossy(&hostile).into_owned());
    }

    #[test]
    fn what_was_never_begun_is_a_moment() {
        let events = events(&[Job { status: Status::Refused, slot: None, ..Job::ok(0, 0) }]);
        let last = events.last().unwrap();
        assert_eq!((&last["ph"], &last["s"], last.get("dur")), (&"i".into(), &"p".into(), None));
        assert_eq!(trace(&[]).1.named, 0);
    }

    #[test]
    fn a_run_that_was_killed_leaves_whole_events() {
        let jobs: Vec<_> =
            (0..5000).map(|number| Job { began: number * 10, ..Job::ok(number, 10) }).collect();
        let (file, mut trace) = trace(&jobs);
        assert!(trace.buffer.len() < 2 * BUFFER);
        let mut text = std::fs::read_to_string(file.path()).unwrap();
        text.push(']');
        let events: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert!(events.len() > 1000, "{}", events.len());
        trace.close().unwrap();
    }

    #[test]
    fn slow_jobs_are_written_as_they_end() {
        let (file, _trace) = trace(&[Job { began: 0, ..Job::ok(0, 1_500_000) }]);
        assert!(std::fs::read_to_string(file.path()).unwrap().ends_with('}'));
    }

    #[test]
    fn an_error_names_the_file() {
        let error = Trace::create(Path::new("/nowhere/trace.json"), "wc", origin()).unwrap_err().to_string();
        assert!(error.contains("/nowhere/trace.json: No such file"), "{error}");
        let mut full = Trace::create(Path::new("/dev/full"), "wc", origin()).unwrap();
        assert!(full.close().unwrap_err().to_string().contains("/dev/full: No space left"));
    }
}
