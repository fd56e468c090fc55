use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::*;
use crate::process::testing::{LONG, alone, eventually};

const MARK: Mark = Mark { nonce: *b"0123456789abcdef" };

/// A worker's end, and the parent's.
fn output(mode: Output, forward: Option<Forwarder>) -> (std::io::PipeWriter, Stderr) {
    let (reader, writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&reader).unwrap();
    rustix::fs::fcntl_setfl(&reader, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    (writer, Stderr::new(reader.into(), mode, Some(MARK), forward))
}

/// What comes out is sent here piece by piece; each piece waits until there is something to take in `gate`.
fn gated() -> (Forwarder, Arc<AtomicUsize>, Receiver<Vec<u8>>, Sender<()>) {
    let (pieces, written) = channel();
    let (open, gate) = channel::<()>();
    let wakes = Arc::new(AtomicUsize::new(0));
    let sink = move |bytes: &[u8]| {
        let _ = gate.recv();
        let _ = pieces.send(bytes.to_vec());
    };
    let count = wakes.clone();
    let wake = Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    (Forwarder::to(sink, wake), wakes, written, open)
}

fn ungated() -> (Forwarder, Receiver<Vec<u8>>) {
    let (forwarder, _, written, _) = gated();
    (forwarder, written)
}

#[test]
fn a_dropped_output_keeps_its_tail() {
    let (mut worker, output) = output(Output::Null, None);
    worker.write_all(b"last words\n").unwrap();
    assert_eq!(output.read_available(), Flow::Open);
    assert_eq!(output.tail(), "last words");
    drop(worker);
    assert_eq!((output.read_available(), output.read_available()), (Flow::Ended, Flow::Ended));
}

#[test]
fn a_captured_output_is_split_and_its_tail_has_no_marks() {
    let (mut worker, output) = output(Output::Capture, None);
    for part in
        [b"before", &MARK.bytes(1)[..], b"one\n", &MARK.bytes(Mark::END), b"between", &MARK.bytes(2), b"tw"]
    {
        worker.write_all(part).unwrap();
    }
    assert_eq!(output.take(1), Some(b"one\n".to_vec()));
    assert_eq!(output.take(1), None);
    worker.write_all(b"o 0123").unwrap();
    output.finish();
    assert_eq!(output.take_open(), Some((2, b"two 0123".to_vec())));
    assert_eq!(output.tail(), "beforeone\nbetweentwo 0123");
}

#[test]
fn lines_of_several_workers_are_never_mixed() {
    let (forwarder, written) = ungated();
    let workers: Vec<_> = (0..4).map(|_| output(Output::Inherit, Some(forwarder.clone()))).collect();
    std::thread::scope(|scope| {
        for (id, (mut worker, output)) in workers.into_iter().enumerate() {
            let feed = move || {
                let text: String =
                    (0..300).map(|line| format!("{id}:{line}:{}\n", "x".repeat(line))).collect();
                for piece in text.as_bytes().chunks(97 + id) {
                    worker.write_all(piece).unwrap();
                    output.read_available();
                }
            };
            scope.spawn(feed);
        }
    });
    assert!(forwarder.flush(LONG));
    let all = String::from_utf8(written.try_iter().flatten().collect()).unwrap();
    for id in 0..4 {
        let prefix = format!("{id}:");
        let own: Vec<_> = all.lines().filter(|line| line.starts_with(&prefix)).collect();
        let expected: Vec<_> = (0..300).map(|line| format!("{id}:{line}:{}", "x".repeat(line))).collect();
        assert_eq!(own, expected);
    }
    assert_eq!(all.lines().count(), 1200);
}

#[test]
fn a_blocked_stderr_stops_the_reading_and_nothing_else() {
    let (forwarder, wakes, written, open) = gated();
    let (mut worker, output) = output(Output::Inherit, Some(forwarder.clone()));
    let line = [b"a line of sixteen"[..15].to_vec(), vec![b'\n']].concat();
    let feed = std::thread::spawn(move || (0..65_536).for_each(|_| worker.write_all(&line).unwrap()));
    eventually("it is paused", || output.read_available() == Flow::Paused);
    assert!(!forwarder.flush(Duration::from_millis(1)));
    assert_eq!(wakes.load(Ordering::SeqCst), 0);
    drop(open);
    eventually("there is room again", || wakes.load(Ordering::SeqCst) > 0);
    eventually("all is read", || output.read_available() == Flow::Ended);
    feed.join().unwrap();
    assert!(forwarder.flush(LONG));
    assert_eq!(written.try_iter().map(|piece| piece.len()).sum::<usize>(), 1 << 20);
}

#[test]
fn a_dead_workers_last_bytes_are_read_even_then() {
    let (forwarder, _, written, open) = gated();
    let (mut worker, output) = output(Output::Inherit, Some(forwarder.clone()));
    // In small pieces: who has many pipes open gets new ones that hold little.
    let mut total = 0;
    while output.read_available() != Flow::Paused {
        worker.write_all(&[b'x'; 1000]).unwrap();
        total += 1000;
    }
    worker.write_all(b"last words").unwrap();
    output.finish();
    assert!(output.tail().ends_with("xlast words"));
    drop((output, open));
    assert!(forwarder.flush(LONG));
    assert_eq!(written.try_iter().map(|piece| piece.len()).sum::<usize>(), total + 10);
}

#[test]
fn an_unfinished_line_waits_but_not_for_ever() {
    let (forwarder, written) = ungated();
    let (mut worker, output) = output(Output::Inherit, Some(forwarder.clone()));
    let begin = Instant::now();
    worker.write_all(b"one\nprompt> ").unwrap();
    output.read_available();
    assert_eq!(written.recv_timeout(LONG), Ok(b"one\n".to_vec()));
    assert_eq!(written.recv_timeout(LONG), Ok(b"prompt> ".to_vec()));
    assert!(begin.elapsed() >= Duration::from_millis(100));
    worker.write_all(b"the end").unwrap();
    let begin = Instant::now();
    output.finish();
    assert_eq!(written.recv_timeout(LONG), Ok(b"the end".to_vec()));
    assert!(begin.elapsed() < Duration::from_millis(100));
}

#[test]
#[ignore = "prints on the real stderr"]
fn it_is_printed() {
    let forwarder = Forwarder::new(Arc::new(|| {}));
    let (mut worker, output) = output(Output::Inherit, Some(forwarder.clone()));
    // Who holds this lock and waits for a job does not hinder the job's output.
    let held = std::io::stderr().lock();
    worker.write_all(b"from the worker\nand more").unwrap();
    output.read_available();
    assert!(forwarder.flush(LONG));
    drop(held);
    nix::unistd::close(2).unwrap();
    worker.write_all(b"to nobody\n").unwrap();
    output.read_available();
    assert!(forwarder.flush(LONG), "a closed stderr takes everything");
}

#[test]
fn it_reaches_this_processs_own_stderr() {
    let outcome = alone("stderr::tests::it_is_printed");
    let text = String::from_utf8_lossy(&outcome.stderr);
    assert!(text.contains("from the worker\nand more"), "{text}");
}
