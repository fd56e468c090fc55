//! Jobs in frames through pipes, without a scheduler, handles or care for errors: what `apply_async` cannot exceed.

use std::io::{Read, Write};
use std::time::Instant;

use sidestep_worker::codec::{decode, encode};

use super::{Copy, Role, fill, own_ends};
use crate::Outcome;

/// A number, and what travels under it.
type Message = (u64, i64);

const LENGTH: usize = size_of::<u32>();

/// Appends one frame: the length of its body, and the body.
fn put(message: Message, out: &mut Vec<u8>) -> Outcome<()> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    encode(&message, out)?;
    let length = u32::try_from(out.len() - start - LENGTH)?;
    out[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Reads once, and gives every whole frame to `take`. False at the end.
fn pump(
    from: &mut impl Read,
    buffer: &mut Vec<u8>,
    scratch: &mut [u8],
    mut take: impl FnMut(Message) -> Outcome<()>,
) -> Outcome<bool> {
    let read = from.read(scratch)?;
    buffer.extend_from_slice(&scratch[..read]);
    let mut rest = buffer.as_slice();
    while let Some((length, behind)) = rest.split_first_chunk::<LENGTH>() {
        let Some((body, behind)) = behind.split_at_checked(u32::from_le_bytes(*length) as usize) else {
            break;
        };
        take(decode(body)?)?;
        rest = behind;
    }
    let used = buffer.len() - rest.len();
    buffer.drain(..used);
    Ok(read > 0)
}

/// The child's side: it answers each read with one write.
pub(super) fn answer() -> Outcome<()> {
    let (mut input, mut output) = own_ends()?;
    let (mut buffer, mut scratch, mut out) = (Vec::new(), vec![0; 1 << 16], Vec::new());
    while pump(&mut input, &mut buffer, &mut scratch, |(id, value)| put((id, value + 1), &mut out))? {
        output.write_all(&out)?;
        out.clear();
    }
    Ok(())
}

/// Jobs a second that get to that many children and back, with so many frames a write.
pub(crate) fn rate(children: usize, batch: usize, jobs: usize) -> Outcome<f64> {
    let mut copies = (0..children).map(|_| Copy::start(Role::Frames)).collect::<Outcome<Vec<_>>>()?;
    copies.iter_mut().try_for_each(greet)?;
    let writers: Vec<_> = copies.iter_mut().filter_map(|copy| copy.to.take()).collect();
    let begin = Instant::now();
    let got = std::thread::scope(|scope| {
        let readers: Vec<_> =
            copies.iter_mut().map(|copy| scope.spawn(|| count(&mut copy.from).ok())).collect();
        send(writers, batch, jobs)?;
        let counts = readers.into_iter().map(|reader| reader.join().ok().flatten());
        counts
            .sum::<Option<usize>>()
            .ok_or::<Box<dyn std::error::Error>>("a child's answers cannot be read".into())
    })?;
    if got != jobs {
        return Err(format!("{got} of {jobs} frames came back").into());
    }
    Ok(jobs as f64 / begin.elapsed().as_secs_f64())
}

/// Waits until the child answers: its start is another case's.
fn greet(copy: &mut Copy) -> Outcome<()> {
    let mut frame = Vec::new();
    put((0, 0), &mut frame)?;
    if let Some(to) = &mut copy.to {
        to.write_all(&frame)?;
    }
    match fill(&mut copy.from, &mut frame)? {
        true => Ok(()),
        false => Err("a child that answers frames has ended".into()),
    }
}

/// Sends all jobs, a batch to each child in turn, and closes the pipes.
fn send(mut writers: Vec<impl Write>, batch: usize, jobs: usize) -> Outcome<()> {
    let (mut out, children) = (Vec::new(), writers.len());
    for (turn, first) in (0..jobs).step_by(batch).enumerate() {
        for id in first..jobs.min(first + batch) {
            put((id as u64, id as i64), &mut out)?;
        }
        writers[turn % children].write_all(&out)?;
        out.clear();
    }
    Ok(())
}

fn count(from: &mut impl Read) -> Outcome<usize> {
    let (mut buffer, mut scratch, mut got) = (Vec::new(), vec![0; 1 << 16], 0);
    let mut one = |_| {
        got += 1;
        Ok(())
    };
    while pump(from, &mut buffer, &mut scratch, &mut one)? {}
    Ok(got)
}
