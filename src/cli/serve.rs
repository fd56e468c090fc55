//! `--serve`: workers that other programs share; and what they do.

use std::io::PipeWriter;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use console::style;

use super::ending::CliError;
use super::options::Options;
use super::progress::units::human_time as time;
use super::say::say;
use super::signals::{self, Wish};
use super::strays::{self, Stay};
use super::{orphans, plan};
use crate::lending::{Borrower, Offer, Report, Server, WorkerState};
use crate::process::Program;

/// Serves under a name until it is told to end; returns the exit code.
pub(super) fn serve(options: &Options, name: &str) -> Result<u8, CliError> {
    if let Some(path) = &options.exe {
        plan::check_program(path)?;
    }
    let strays = strays::adopt().map_err(CliError::Thread)?;
    let signals = signals::block().map_err(CliError::Thread)?;
    let workers = plan::workers(options, usize::MAX)?;
    let program = options.exe.clone().map_or(Program::Image, Program::Path);
    let offer = Offer { name: name.to_owned(), workers, program, idle: options.shared.idle_timeout };
    let server = Server::new(offer).map_err(CliError::Serve)?;
    let (stopped, stop) = io::pipe().map_err(CliError::Thread)?;
    let quiet = options.quiet;
    signals.watch(move |wish| heed(wish, &stop, quiet)).map_err(CliError::Thread)?;
    if let Some(strays) = strays {
        // Nobody knows which worker they are from.
        strays.watch(Stay::UntilAllEnd).map_err(CliError::Thread)?;
    }
    let told = name.to_owned();
    let ready = move |path: &Path| {
        if !quiet {
            say(format_args!("{workers} workers serve as {told}, at {}; Ctrl-C ends them", path.display()));
        }
    };
    // Not on this thread: its children count as strays.
    let serve = move || server.run(stopped.as_fd(), ready);
    let server = std::thread::Builder::new().name("server".into()).spawn(serve).map_err(CliError::Thread)?;
    let served = server.join().unwrap_or(Ok(()));
    orphans::end_all();
    served.map(|()| 0).map_err(CliError::Serve)
}

/// Does what a signal wants.
fn heed(wish: Wish, mut stop: &PipeWriter, quiet: bool) {
    match wish {
        Wish::End { times, .. } => {
            if times == 1 && !quiet {
                say("nobody else is let in, and it ends once the last pool has left; again: it ends now");
            }
            // It is there as long as the server is.
            let _ = stop.write_all(&[1]);
        }
        Wish::Stop => signals::stop(),
        Wish::Tell | Wish::Toggle => {}
    }
}

/// What goes on at a server, as text or as JSON.
pub(super) fn status(name: &str, json: bool) -> Result<String, CliError> {
    let report = Borrower::status(name).map_err(CliError::Pool)?;
    if json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| CliError::Output(error.into()))?;
        return Ok(text + "\n");
    }
    Ok(table(name, &report))
}

fn table(name: &str, report: &Report) -> String {
    let span = |millis: u64| time(Duration::from_millis(millis));
    let in_state = |state| report.workers.iter().filter(|worker| worker.state == state).count();
    let (lent, free) = (in_state(WorkerState::Lent), in_state(WorkerState::Free));
    let mut text = format!(
        "{name}: pid {}, up {}, {} workers ({lent} lent, {free} free) of {}\n",
        report.pid,
        span(report.up),
        report.workers.len(),
        report.program,
    );
    let heads =
        ["client", "pid", "since", "workers", "waits for", "running", "queued", "done", "failed", "program"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for client in &report.clients {
        let count = |count: fn(&crate::lending::Counts) -> u64| {
            client.counts.as_ref().map_or_else(|| "?".into(), |counts| count(counts).to_string())
        };
        rows.push(vec![
            client.number.to_string(),
            client.pid.map_or_else(|| "?".into(), |pid| pid.to_string()),
            span(client.since),
            client.workers.to_string(),
            client.waiting.to_string(),
            count(|counts| counts.running),
            count(|counts| counts.queued),
            count(|counts| counts.done),
            count(|counts| counts.failed),
            client.program.clone(),
        ]);
    }
    text.push_str(&columns(&rows));
    let mut rows = vec![["worker", "pid", "state", "client", "for"].map(str::to_owned).to_vec()];
    for (number, worker) in (1..).zip(&report.workers) {
        let state = match worker.state {
            WorkerState::Absent => "absent",
            WorkerState::Starting => "starting",
            WorkerState::Free => "free",
            WorkerState::Lent => "lent",
        };
        rows.push(vec![
            format!("{number}"),
            worker.pid.map_or_else(|| "-".into(), |pid| pid.to_string()),
            state.into(),
            worker.client.map_or_else(|| "-".into(), |client| client.to_string()),
            span(worker.since),
        ]);
    }
    text.push_str(&columns(&rows));
    text
}

/// Rows under each other, each column as wide as it has to be.
fn columns(rows: &[Vec<String>]) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let mut text = String::from("\n");
    for (number, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let cell =
                if at + 1 < row.len() { format!("{cell:width$}  ", width = width(at)) } else { cell.clone() };
            line.push_str(&cell);
        }
        let line = line.trim_end();
        let line = if number == 0 { style(line).bold().to_string() } else { line.to_owned() };
        text.push_str(&line);
        text.push('\n');
    }
    text
}
