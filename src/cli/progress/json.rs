//! Progress for programs: one JSON object a line.

use serde::Serialize;

use super::snapshot::Snapshot;

#[derive(Serialize)]
struct Line<'a> {
    done: u64,
    failed: u64,
    total: Option<u64>,
    running: Vec<Running<'a>>,
    /// Jobs a second.
    rate: f64,
    /// Seconds.
    eta: Option<f64>,
    elapsed: f64,
}

#[derive(Serialize)]
struct Running<'a> {
    seq: u64,
    slot: usize,
    pid: Option<u32>,
    seconds: f64,
    input: &'a str,
}

/// A snapshot as a line.
pub(super) fn line(snapshot: &Snapshot) -> String {
    let running = snapshot.running.iter().map(|job| Running {
        seq: job.seq,
        slot: job.slot,
        pid: job.pid,
        seconds: millis(job.age.as_secs_f64()),
        input: &job.input,
    });
    let line = Line {
        done: snapshot.done,
        failed: snapshot.failed,
        total: snapshot.total,
        running: running.collect(),
        rate: millis(snapshot.rate),
        eta: snapshot.eta.map(|eta| millis(eta.as_secs_f64())),
        elapsed: millis(snapshot.elapsed.as_secs_f64()),
    };
    // Numbers and strings always make JSON.
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}

/// Rounded: more digits tell nothing.
fn millis(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::progress::tests::snapshot;

    #[test]
    fn all_of_it_is_told() {
        assert_eq!(
            line(&snapshot()),
            "{\"done\":412,\"failed\":1,\"total\":1000,\"running\":[\
             {\"seq\":413,\"slot\":1,\"pid\":31842,\"seconds\":3.4,\"input\":\"a.jpg\"},\
             {\"seq\":415,\"slot\":2,\"pid\":null,\"seconds\":0.7,\"input\":\"\\\"b c\\\"\"}],\
             \"rate\":38.2,\"eta\":15.393,\"elapsed\":10.8}\n"
        );
    }
}
