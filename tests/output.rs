//! What jobs print: where it goes, and whose it is.

mod common;

use std::io::{Read, Write};

use common::{Gate, LONG, finish, limited};
use sidestep::{Captured, JobError, Output, Pool};

sidestep::worker_entry!();

#[sidestep::job]
fn say(text: String) -> usize {
    println!("{text}");
    eprintln!("{}", text.to_uppercase());
    text.len()
}

#[sidestep::job]
fn silent(x: i64) -> i64 {
    x
}

#[sidestep::job]
fn print_bytes(bytes: sidestep::Bytes) {
    std::io::stdout().write_all(&bytes).unwrap();
    std::io::stderr().write_all(&bytes).unwrap();
}

#[sidestep::job]
fn say_and_end(text: String, how: String) {
    // Without an end of line it waits in the standard library's buffer.
    print!("{text}");
    eprint!("{text}");
    match how.as_str() {
        "panic" => panic!("on purpose"),
        "exit" => std::process::exit(1),
        "abort" => {
            std::io::stdout().flush().unwrap();
            std::process::abort()
        }
        _ => {}
    }
}

#[sidestep::job]
fn say_and_wait(ticket: String, text: String) {
    println!("{text}");
    common::pass(&ticket, &text);
}

#[sidestep::job]
fn say_in_a_child(text: String) {
    let script = format!("echo out {text}; echo err {text} >&2");
    assert!(std::process::Command::new("sh").args(["-c", &script]).status().unwrap().success());
}

#[sidestep::job]
fn say_through_c(text: String) {
    // SAFETY: the format takes one text, and it ends with a zero.
    unsafe { libc::printf(c"%s\n".as_ptr(), std::ffi::CString::new(text).unwrap().as_ptr()) };
}

#[sidestep::job]
fn close_outputs() {
    for fd in 0..3 {
        nix::unistd::close(fd).unwrap();
    }
}

#[sidestep::job]
fn unblock_outputs() {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(std::io::stdout(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
}

#[sidestep::job]
fn read_all() -> (usize, String) {
    println!("before");
    let mut text = String::new();
    let count = std::io::stdin().read_to_string(&mut text).unwrap();
    (count, text)
}

fn capturing(workers: usize) -> Pool {
    let pool = Pool::builder().workers(workers).stdout(Output::Capture).stderr(Output::Capture);
    common::step("starting a pool");
    pool.build().expect("a pool")
}

fn captured(stdout: impl AsRef<[u8]>, stderr: impl AsRef<[u8]>) -> Option<Captured> {
    Some(Captured { stdout: stdout.as_ref().to_vec(), stderr: stderr.as_ref().to_vec() })
}

#[test]
fn a_handle_has_what_its_job_has_printed() {
    limited(|| {
        let pool = capturing(2);
        let handle = pool.apply_async(say, ("hello".into(),));
        assert!(handle.wait(LONG));
        assert_eq!(handle.output(), captured("hello\n", "HELLO\n"));
        assert_eq!(handle.output(), captured("hello\n", "HELLO\n"), "it can be asked for again");
        let handle = pool.apply_async(silent, (3,));
        assert!(handle.wait(LONG));
        assert_eq!(handle.output(), captured("", ""));
        finish(&pool);
    });
}

#[test]
fn there_is_none_before_the_job_is_done() {
    limited(|| {
        let (pool, mut gate) = (capturing(1), Gate::new());
        let handle = pool.apply_async(say_and_wait, (gate.ticket(), "early".into()));
        let all = pool.starmap_async(say_and_wait, [(gate.ticket(), "late".into())]);
        gate.arrival();
        assert_eq!((handle.output(), all.output()), (None, None));
        gate.open();
        assert!(handle.wait(LONG) && all.wait(LONG));
        assert_eq!((handle.output(), all.output()), (captured("early\n", ""), captured("late\n", "")));
    });
}

#[test]
fn there_is_none_where_nothing_is_captured() {
    limited(|| {
        let pool = Pool::builder().workers(1).stdout(Output::Null).stderr(Output::Null).build().unwrap();
        let handle = pool.apply_async(say, ("hello".into(),));
        assert!(handle.wait(LONG));
        assert_eq!(handle.output(), None);
        let all = pool.map_async(say, ["a".to_owned()]);
        assert!(all.wait(LONG));
        assert_eq!(all.output(), None);
    });
}

#[test]
fn one_of_the_two_may_be_captured_alone() {
    limited(|| {
        let only = |stdout, stderr| {
            let pool = Pool::builder().workers(1).stdout(stdout).stderr(stderr).build().unwrap();
            let handle = pool.apply_async(say, ("hello".into(),));
            assert!(handle.wait(LONG));
            handle.output()
        };
        assert_eq!(only(Output::Capture, Output::Null), captured("hello\n", ""));
        assert_eq!(only(Output::Null, Output::Capture), captured("", "HELLO\n"));
    });
}

#[test]
fn jobs_outputs_are_never_mixed() {
    limited(|| {
        let pool = capturing(3);
        let text = |n: usize| format!("job {n} {}", "x".repeat(n % 50));
        let handles: Vec<_> = (0..500).map(|n| pool.apply_async(say, (text(n),))).collect();
        for (n, handle) in handles.into_iter().enumerate() {
            assert!(handle.wait(LONG));
            let text = text(n);
            assert_eq!(handle.output(), captured(format!("{text}\n"), format!("{}\n", text.to_uppercase())));
        }
        finish(&pool);
    });
}

#[test]
fn a_maps_output_stands_in_the_order_of_its_items() {
    limited(|| {
        let pool = capturing(3);
        for chunk in [1, 7, 1000] {
            let all = pool.call(say).chunk_size(chunk).map_async((0..300).map(|n| format!("line {n}")));
            assert!(all.wait(LONG));
            let lines: String = (0..300).map(|n| format!("line {n}\n")).collect();
            assert_eq!(all.output(), captured(&lines, lines.to_uppercase()), "chunks of {chunk}");
        }
        finish(&pool);
    });
}

#[test]
fn any_bytes_are_captured_as_they_are() {
    limited(|| {
        let pool = capturing(1);
        let all: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        for bytes in [vec![], vec![0], b"no end of line".to_vec(), vec![0xFF; 1000], all] {
            let handle = pool.apply_async(print_bytes, (bytes.clone().into(),));
            assert!(handle.wait(LONG));
            assert_eq!(handle.output(), captured(&bytes, &bytes));
        }
    });
}

#[test]
fn far_more_than_a_pipe_holds_is_captured() {
    limited(|| {
        let pool = capturing(2);
        let bytes: Vec<_> = (1..=2).map(|n| vec![n; 2 << 20]).collect();
        let submit = |bytes: &Vec<u8>| pool.apply_async(print_bytes, (bytes.clone().into(),));
        let handles: Vec<_> = bytes.iter().map(submit).collect();
        for (bytes, handle) in bytes.iter().zip(handles) {
            assert!(handle.wait(LONG));
            assert!(handle.output() == captured(bytes, bytes));
        }
    });
}

#[test]
fn a_failed_jobs_output_is_kept() {
    limited(|| {
        let pool = capturing(1);
        for (how, stdout) in [("return", "words"), ("panic", "words"), ("exit", "words"), ("abort", "words")]
        {
            let handle = pool.apply_async(say_and_end, ("words".into(), how.into()));
            assert!(handle.wait(LONG));
            assert_eq!(handle.output(), captured(stdout, "words"), "{how}");
            match (how, handle.get()) {
                ("return", Ok(())) | ("panic", Err(JobError::Panicked { .. })) => {}
                ("exit" | "abort", Err(JobError::WorkerLost { stderr_tail, .. })) => {
                    assert!(stderr_tail.ends_with("words"), "{stderr_tail}");
                }
                other => panic!("{other:?}"),
            }
        }
        finish(&pool);
    });
}

#[test]
fn a_cancelled_jobs_output_harms_nobody_elses() {
    limited(|| {
        let (pool, mut gate) = (capturing(1), Gate::new());
        let doomed = pool.apply_async(say_and_wait, (gate.ticket(), "doomed".into()));
        gate.arrival();
        assert!(doomed.cancel());
        assert!(doomed.wait(LONG));
        let next = pool.apply_async(say, ("next".into(),));
        assert!(next.wait(LONG));
        assert_eq!(next.output(), captured("next\n", "NEXT\n"));
    });
}

#[test]
fn what_a_jobs_program_and_its_c_code_print_is_the_jobs() {
    limited(|| {
        let pool = capturing(1);
        for n in 0..5 {
            let child = pool.apply_async(say_in_a_child, (n.to_string(),));
            let c = pool.apply_async(say_through_c, (format!("c {n}"),));
            assert!(child.wait(LONG) && c.wait(LONG));
            assert_eq!(child.output(), captured(format!("out {n}\n"), format!("err {n}\n")));
            assert_eq!(c.output(), captured(format!("c {n}\n"), ""));
        }
    });
}

#[test]
fn a_job_that_closes_its_outputs_harms_nobody() {
    limited(|| {
        let pool = capturing(1);
        let pids = pool.pids();
        assert_eq!(pool.apply(close_outputs, ()), Ok(()));
        for x in 0..10 {
            let handle = pool.apply_async(silent, (x,));
            assert!(handle.wait(LONG));
            assert_eq!((handle.output(), handle.get()), (captured("", ""), Ok(x)));
        }
        assert_eq!(pool.pids(), pids);
        finish(&pool);
    });
}

#[test]
fn a_job_that_makes_its_output_non_blocking_harms_nobody() {
    limited(|| {
        let pool = capturing(1);
        assert_eq!(pool.apply(unblock_outputs, ()), Ok(()));
        for n in 0..50 {
            let handle = pool.apply_async(say, (format!("{n}"),));
            assert!(handle.wait(LONG));
            assert_eq!(handle.output(), captured(format!("{n}\n"), format!("{n}\n")));
        }
    });
}

#[test]
fn stdin_is_empty() {
    limited(|| {
        let pool = capturing(1);
        for _ in 0..3 {
            let handle = pool.apply_async(read_all, ());
            assert!(handle.wait(LONG));
            assert_eq!((handle.output(), handle.get()), (captured("before\n", ""), Ok((0, String::new()))));
        }
    });
}

#[test]
#[ignore = "prints on this process's own outputs"]
fn some_is_captured_and_the_rest_is_printed() {
    limited(|| {
        for (stdout, stderr) in [
            (Output::Capture, Output::Inherit),
            (Output::Inherit, Output::Capture),
            (Output::Inherit, Output::Inherit),
            (Output::Null, Output::Inherit),
        ] {
            let pool = Pool::builder().workers(2).stdout(stdout).stderr(stderr).build().unwrap();
            let text = format!("{stdout:?}-{stderr:?}");
            assert_eq!(pool.map(say, vec![text.clone(); 10]), Ok(vec![text.len(); 10]));
            finish(&pool);
        }
    });
}

#[test]
fn what_is_not_captured_is_printed_and_nothing_else() {
    limited(|| {
        let outcome = common::alone("some_is_captured_and_the_rest_is_printed");
        let lines = |bytes: &[u8], mark: &str| {
            assert!(!bytes.contains(&0), "no marks stand in what is printed: {}", bytes.escape_ascii());
            let text = String::from_utf8(bytes.to_vec()).expect("jobs print nothing but text");
            // The harness may have begun a line of its own.
            text.lines().filter(|line| line.ends_with(mark)).count()
        };
        for (mark, stdout, stderr) in [
            ("Capture-Inherit", 0, 10),
            ("Inherit-Capture", 10, 0),
            ("Inherit-Inherit", 10, 10),
            ("Null-Inherit", 0, 10),
        ] {
            assert_eq!(lines(&outcome.stdout, mark), stdout, "stdout of {mark}");
            assert_eq!(lines(&outcome.stderr, &mark.to_uppercase()), stderr, "stderr of {mark}");
        }
    });
}
