//! Python's `multiprocessing.Pool`: one interpreter for an experiment, which does what it is asked for.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::Outcome;

const SCRIPT: &str = include_str!("pool.py");

pub(crate) struct Python {
    process: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Python {
    pub(crate) fn start() -> Outcome<Python> {
        let mut process = Command::new("python3")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("python3: {error}"))?;
        let answers = BufReader::new(process.stdout.take().ok_or("its output is piped")?);
        let mut python = Python { requests: process.stdin.take(), process, answers };
        // Imports and the first pool's threads are nobody's turn.
        python.ask("ready", Value::Array(Vec::new()))?;
        Ok(python)
    }

    /// Calls a function of the script, and gives its numbers.
    pub(crate) fn ask(&mut self, function: &str, arguments: Value) -> Outcome<Vec<f64>> {
        let requests = self.requests.as_mut().ok_or("its input is closed")?;
        writeln!(requests, "{}", serde_json::json!([function, arguments]))?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        match serde_json::from_str(&answer) {
            Ok(Value::String(why)) => Err(why.into()),
            Ok(numbers) => Ok(serde_json::from_value(numbers)?),
            Err(_) => Err("python3 has ended".into()),
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.requests.take());
        let _ = self.process.wait();
    }
}
