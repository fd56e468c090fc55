//! `pool-run` beside `xargs`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::rate;
use crate::Outcome;
use crate::experiment::{Experiment, Figure, Plan};
use crate::row::Row;

const POOL_RUN: &str = env!("CARGO_BIN_EXE_pool-run");
/// Files an `xargs` gives to one `sha256sum`.
const CHUNKS: [&str; 4] = ["16", "64", "256", "1024"];

pub(super) fn run(plan: &Plan) -> Outcome<Vec<Row>> {
    let (commands, files) = plan.size((2_000, 10_000), (20, 100));
    let folder = tempfile::tempdir()?;
    let numbers = folder.path().join("numbers");
    list(&numbers, (0..commands).map(|n| n.to_string()))?;
    let names = small_files(&folder, files)?;
    let programs = Experiment::new([Figure::more("exec true, 2 at a time", "programs/s").headline()])
        .side("Sidestep, pool-run exec", || {
            Ok(vec![through(pool_run(&["exec", "true"]), &numbers, commands)?])
        })
        .side("bare children of two threads", || Ok(vec![rate(commands, || bare(commands / 2))?]))
        .side("xargs", || Ok(vec![through(xargs("1", "true"), &numbers, commands)?]));
    let best = || -> Outcome<Vec<f64>> {
        let rates = CHUNKS.map(|chunk| through(xargs(chunk, "sha256sum"), &names, files));
        let rates = rates.into_iter().collect::<Outcome<Vec<f64>>>()?;
        Ok(vec![rates.into_iter().fold(0.0, f64::max)])
    };
    let sums = Experiment::new([Figure::more("sha256 of files of 1 KiB, 2 at a time", "files/s")])
        .side("Sidestep, pool-run sha256", || Ok(vec![through(pool_run(&["sha256"]), &names, files)?]))
        .side("xargs, best of 4 sizes", best);
    Ok([programs.run(plan), sums.run(plan)].concat())
}

/// A file with those lines.
fn list(path: &Path, lines: impl Iterator<Item = String>) -> Outcome<()> {
    let mut file = std::io::BufWriter::new(File::create(path)?);
    for line in lines {
        writeln!(file, "{line}")?;
    }
    Ok(file.flush()?)
}

/// Small files, and the list of their names.
fn small_files(folder: &TempDir, count: usize) -> Outcome<std::path::PathBuf> {
    let path = |n| folder.path().join(format!("file-{n}"));
    for n in 0..count {
        std::fs::write(path(n), [n as u8; 1024])?;
    }
    let names = folder.path().join("names");
    list(&names, (0..count).map(|n| path(n).to_string_lossy().into_owned()))?;
    Ok(names)
}

fn pool_run(words: &[&str]) -> Command {
    let mut command = Command::new(POOL_RUN);
    command.args(["--workers", "2"]).args(words);
    command
}

fn xargs(chunk: &str, program: &str) -> Command {
    let mut command = Command::new("xargs");
    command.args(["-P2", "-n", chunk, program]);
    command
}

/// Inputs a second.
fn through(mut command: Command, inputs: &Path, count: usize) -> Outcome<f64> {
    command.stdin(File::open(inputs)?).stdout(Stdio::null()).stderr(Stdio::null());
    let name = command.get_program().to_string_lossy().into_owned();
    rate(count, || match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name}: {status}").into()),
        Err(error) => Err(format!("{name}: {error}").into()),
    })
}

/// Two threads, each of which starts one program after another, with an argument as the others give it one, and takes
/// what it prints.
fn bare(each: usize) -> Outcome<()> {
    let start = |n: usize| Command::new("true").arg(n.to_string()).stdin(Stdio::null()).output();
    let one_by_one = || (0..each).all(|n| start(n).is_ok_and(|output| output.status.success()));
    let all = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(one_by_one));
        threads.into_iter().all(|thread| thread.join().unwrap_or(false))
    });
    if all { Ok(()) } else { Err("true could not be run".into()) }
}
