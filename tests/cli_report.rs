//! `--report` and `--trace` of runs of the real command. How a page looks and what it does is tested beside its code.
#![cfg(feature = "cli")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

fn run(folder: &Path, args: &[&str]) -> Output {
    Command::new(cargo_bin!("pool-run")).args(args).current_dir(folder).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The JSON that a page has within.
fn head(page: &str) -> Value {
    let (_, rest) = page.split_once("<script id=\"head\" type=\"application/json\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn a_report_tells_of_all_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["-w2", "--report", "run.html", "sh", "test {} != '<b>'", ":::", "a", "b", "<b>", "c"];
    let output = run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let page = fs::read_to_string(folder.path().join("run.html")).unwrap();
    let head = head(&page);
    assert_eq!((&head["jobs"], &head["kept"], &head["all_failed"]), (&4.into(), &4.into(), &1.into()));
    assert_eq!(
        (&head["failed"][0]["number"], &head["failed"][0]["input"]["text"]),
        (&2.into(), &"<b>".into())
    );
    assert!(head["command"].as_str().unwrap().starts_with("pool-run -w2 --report run.html sh 'test {} != "));
    assert!(head["wall"].as_u64().unwrap() > 0 && head["slots"].as_u64().unwrap() > 0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "it leaves nothing but the page");
}

#[test]
fn a_trace_has_an_event_for_each_job() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["-w2", "--trace", "t.json", "sh", "exit {}", ":::", "0", "7", "0"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let trace = fs::read(folder.path().join("t.json")).unwrap();
    let mut jobs: Vec<Value> = serde_json::from_slice(&trace).unwrap();
    jobs.retain(|event| event["ph"] == "X");
    jobs.sort_by_key(|event| event["args"]["seq"].as_u64());
    let status: Vec<_> = jobs.iter().map(|event| event["args"]["status"].as_str().unwrap()).collect();
    assert_eq!(status, ["ok", "failed", "ok"]);
    assert!(jobs.iter().all(|event| event["dur"].as_f64() > Some(0.0) && event["ts"].as_f64() >= Some(0.0)));
}

#[test]
fn a_file_that_cannot_be_written_is_named_before_any_job_runs() {
    for option in ["--report", "--trace"] {
        let folder = tempfile::tempdir().unwrap();
        let output = run(folder.path(), &[option, "no/such/file", "exec", "touch", "ran"]);
        assert_eq!(output.status.code(), Some(125), "{option}");
        assert!(stderr(&output).contains("cannot write no/such/file: No such file"), "{}", stderr(&output));
        assert!(!folder.path().join("ran").exists());
    }
}

#[test]
fn a_full_disk_is_an_error() {
    for option in ["--report", "--trace"] {
        let folder = tempfile::tempdir().unwrap();
        let output = run(folder.path(), &[option, "/dev/full", "exec", "true", ":::", "a"]);
        assert_eq!(output.status.code(), Some(125), "{option}: {}", stderr(&output));
        assert!(stderr(&output).contains("cannot write /dev/full: No space left on device"), "{option}");
    }
}

#[test]
fn results_are_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--report", "r", "--trace", "t", "exec", "echo", ":::", "a", "b"]);
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"a\nb\n"[..], &b""[..]));
}
