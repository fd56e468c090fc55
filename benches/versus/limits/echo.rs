//! Blocks of bytes to another process and back.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::io::ioctl_fionbio;
use rustix::pipe::fcntl_setpipe_size;

use super::{Copy, Role, fill, own_ends};
use crate::Outcome;

/// How a side waits for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// In a read that blocks.
    Asleep,
    /// In reads that do not.
    Polling,
}

impl Waits {
    pub(super) fn name(self) -> &'static str {
        match self {
            Waits::Asleep => "asleep",
            Waits::Polling => "polling",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Waits> {
        [Waits::Asleep, Waits::Polling].into_iter().find(|waits| waits.name() == name)
    }

    fn apply(self, reader: impl AsFd) -> Outcome<()> {
        Ok(ioctl_fionbio(reader, self == Waits::Polling)?)
    }
}

/// The child's side.
pub(super) fn answer(size: usize, waits: Waits) -> Outcome<()> {
    let (mut input, mut output) = own_ends()?;
    waits.apply(&input)?;
    let mut block = vec![1; size];
    while fill(&mut input, &mut block)? {
        output.write_all(&block)?;
    }
    Ok(())
}

/// A child that echoes. All buffers are kept.
pub(crate) struct Echo {
    copy: Copy,
    block: Vec<u8>,
}

impl Echo {
    pub(crate) fn start(size: usize, parent: Waits, child: Waits) -> Outcome<Echo> {
        let copy = Copy::start(Role::Echo { size, waits: child })?;
        parent.apply(&copy.from)?;
        Ok(Echo { copy, block: vec![1; size] })
    }

    /// With pipes of that many bytes.
    pub(crate) fn with_pipes(self, bytes: usize) -> Outcome<Echo> {
        if let Some(to) = &self.copy.to {
            fcntl_setpipe_size(to, bytes)?;
        }
        fcntl_setpipe_size(&self.copy.from, bytes)?;
        Ok(self)
    }

    /// One block there and back.
    pub(crate) fn trip(&mut self) -> Outcome<()> {
        let to = self.copy.to.as_mut().ok_or("the child's input is closed")?;
        to.write_all(&self.block)?;
        match fill(&mut self.copy.from, &mut self.block)? {
            true => Ok(()),
            false => Err("the child that echoes has ended".into()),
        }
    }
}

/// Copies of warm memory instead, one for each way: bytes a second, each way.
pub(crate) fn copies(size: usize, times: usize) -> f64 {
    let (source, mut target) = (vec![1u8; size], vec![2u8; size]);
    target.copy_from_slice(&source);
    let begin = Instant::now();
    for _ in 0..2 * times {
        target.copy_from_slice(std::hint::black_box(&source));
        std::hint::black_box(&mut target);
    }
    (2 * times * size) as f64 / begin.elapsed().as_secs_f64()
}
