//! A worker as a process: its signals, its end and its status.
//!
//! A pid may mean another process as soon as the one it meant was reaped, by us or by somebody else in this program.
//! So every signal is preceded by a look whether the kernel still keeps the process for us, alive or as a zombie;
//! its group's number cannot be given to anybody else before that either.

use std::io;
#[cfg(feature = "connect")]
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{WaitIdOptions, WaitIdStatus, waitid};

#[cfg(feature = "connect")]
use super::leash::Leash;
use super::reaper;
use super::sys::{self, Watch};

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It ended by itself.
    Code(i32),
    /// A signal ended it.
    Signal { signal: i32, core: bool },
    /// Somebody else in this program has taken its status, or SIGCHLD is ignored.
    Unknown,
}

/// A worker process. Dropped before it was reaped, it is killed, and reaped by a thread in the background.
#[derive(Debug)]
pub(crate) struct Child(Kind);

#[derive(Debug)]
enum Kind {
    /// Ours.
    Own(Arc<Process>),
    /// A server's, which lends it to us.
    #[cfg(feature = "connect")]
    Borrowed(Leash),
}

impl Child {
    /// Takes charge of a child that has just been started. If that fails the child is killed.
    pub(super) fn adopt(pid: Pid) -> io::Result<Child> {
        match Watch::start(pid) {
            Ok(watch) => Ok(Child(Kind::Own(Arc::new(Process { pid, watch, exit: OnceLock::new() })))),
            Err(error) => {
                reaper::kill_unwatched(pid);
                Err(error)
            }
        }
    }

    /// One that is borrowed.
    #[cfg(feature = "connect")]
    pub(crate) fn borrowed(leash: Leash) -> Child {
        Child(Kind::Borrowed(leash))
    }

    pub(crate) fn pid(&self) -> u32 {
        match &self.0 {
            Kind::Own(process) => process.pid.as_raw().unsigned_abs(),
            #[cfg(feature = "connect")]
            Kind::Borrowed(leash) => leash.pid(),
        }
    }

    /// Readable once the process has ended.
    pub(crate) fn exit_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Own(process) => process.watch.fd(),
            #[cfg(feature = "connect")]
            Kind::Borrowed(leash) => leash.as_fd(),
        }
    }

    /// Sends a signal to the process and to its whole group; to nobody once its status is gone.
    pub(crate) fn kill_group(&self, signal: Signal) {
        match &self.0 {
            Kind::Own(process) => process.kill_group(signal),
            #[cfg(feature = "connect")]
            Kind::Borrowed(leash) => leash.kill_group(signal),
        }
    }

    /// How it ended; `None` while it lives. What is left of its group is killed before the pid is given back.
    pub(crate) fn try_reap(&mut self) -> Option<Exit> {
        match &mut self.0 {
            Kind::Own(process) => process.try_reap(),
            #[cfg(feature = "connect")]
            Kind::Borrowed(leash) => leash.try_reap(),
        }
    }

    /// Whether it is stopped by a signal or a debugger; `false` if the system does not tell.
    pub(crate) fn is_stopped(&self) -> bool {
        match &self.0 {
            Kind::Own(process) => process.exit.get().is_none() && sys::is_stopped(process.pid),
            #[cfg(feature = "connect")]
            Kind::Borrowed(leash) => !leash.is_off() && sys::is_stopped(Pid::from_raw(leash.pid() as i32)),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The server kills one whose leash is dropped.
        match &self.0 {
            Kind::Own(process) if process.try_reap().is_none() => {
                process.kill_group(Signal::SIGKILL);
                reaper::adopt(process.clone());
            }
            Kind::Own(_) => {}
            #[cfg(feature = "connect")]
            Kind::Borrowed(_) => {}
        }
    }
}

#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    watch: Watch,
    exit: OnceLock<Exit>,
}

/// What the kernel says about a child without giving its status away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Alive,
    Zombie,
    Lost,
}

impl Process {
    fn kill_group(&self, signal: Signal) {
        if self.exit.get().is_some() || self.state() == State::Lost {
            return;
        }
        // No such group: it has not come to its setsid yet, where only itself can do that.
        if killpg(self.pid, signal).is_err() || signal == Signal::SIGKILL {
            self.watch.signal(self.pid, signal);
        }
    }

    pub(super) fn try_reap(&self) -> Option<Exit> {
        if let Some(exit) = self.exit.get() {
            return Some(*exit);
        }
        let exit = match self.state() {
            State::Alive => return None,
            State::Zombie => {
                // What its jobs have started dies while the zombie still keeps the group's number ours.
                let _ = killpg(self.pid, Signal::SIGKILL);
                match waitid(self.watch.id(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
                    Ok(Some(status)) => exit_of(&status),
                    Ok(None) | Err(_) => Exit::Unknown,
                }
            }
            State::Lost => Exit::Unknown,
        };
        Some(*self.exit.get_or_init(|| exit))
    }

    fn state(&self) -> State {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(self.watch.id(self.pid), look) {
            Ok(None) => State::Alive,
            Ok(Some(_)) => State::Zombie,
            Err(_) => State::Lost,
        }
    }
}

fn exit_of(status: &WaitIdStatus) -> Exit {
    if let Some(code) = status.exit_status() {
        return Exit::Code(code & 0xFF);
    }
    match status.terminating_signal() {
        Some(signal) => Exit::Signal { signal, core: status.dumped() },
        None => Exit::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::super::testing::{alone, eventually, plan, read_to_end, reap, shell};
    use super::super::{Spawned, spawn};
    use super::*;

    #[test]
    fn an_exit_code_is_told_again_and_again() {
        let (sender, receiver) = channel();
        spawn(Arc::new(plan("/bin/sh")), Box::new(move |result| sender.send(result).unwrap()));
        let mut spawned = receiver.recv().unwrap().unwrap();
        // The shell does not know the marker and says so.
        assert_eq!(reap(&mut spawned.child), Exit::Code(2));
        assert!(read_to_end(&spawned.stderr).contains("/bin/sh"));
        assert_eq!(spawned.child.try_reap(), Some(Exit::Code(2)));
        spawned.child.kill_group(Signal::SIGKILL);
    }

    #[test]
    fn a_signal_is_told_by_its_number() {
        assert!(matches!(reap(&mut shell("kill -SEGV $$").child), Exit::Signal { signal: 11, .. }));
        assert_eq!(reap(&mut shell("kill -40 $$").child), Exit::Signal { signal: 40, core: false });
    }

    #[test]
    fn a_living_child_is_not_reaped() {
        let mut spawned = shell("read line <&3; exit 7");
        assert_eq!(spawned.child.try_reap(), None);
        drop(spawned.jobs);
        assert_eq!(reap(&mut spawned.child), Exit::Code(7));
    }

    #[test]
    fn a_signal_reaches_the_whole_group() {
        let mut spawned = shell("sleep 1000 & echo up; wait");
        let stdout = spawned.stdout.take().unwrap();
        eventually("the grandchild is up", || nix::unistd::read(&stdout, &mut [0; 8]).is_ok());
        spawned.child.kill_group(Signal::SIGKILL);
        assert_eq!(reap(&mut spawned.child), Exit::Signal { signal: 9, core: false });
        read_to_end(&stdout);
    }

    #[test]
    fn what_a_child_leaves_behind_dies_before_its_pid_is_given_back() {
        let mut spawned = shell("sleep 1000 & exit 3");
        assert_eq!(reap(&mut spawned.child), Exit::Code(3));
        read_to_end(&spawned.stderr);
    }

    #[test]
    fn a_status_that_somebody_else_took_is_unknown() {
        let Spawned { mut child, .. } = shell("exit 3");
        let pid = Pid::from_raw(child.pid() as i32);
        nix::sys::wait::waitpid(pid, None).unwrap();
        assert_eq!(reap(&mut child), Exit::Unknown);
        child.kill_group(Signal::SIGKILL);
        assert_eq!(child.try_reap(), Some(Exit::Unknown));
    }

    #[test]
    #[ignore = "changes the whole process"]
    fn sigchld_is_ignored() {
        use nix::sys::signal::{SigHandler, signal};
        // SAFETY: to ignore a signal runs no handler.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
        let Spawned { mut child, jobs, .. } = shell("read line <&3; exit 3");
        assert_eq!(child.try_reap(), None);
        drop(jobs);
        assert_eq!(reap(&mut child), Exit::Unknown);
        let Spawned { mut child, .. } = shell("sleep 1000");
        child.kill_group(Signal::SIGKILL);
        assert_eq!(reap(&mut child), Exit::Unknown);
    }

    #[test]
    fn a_program_that_ignores_sigchld_loses_only_the_status() {
        alone("child::tests::sigchld_is_ignored");
    }

    #[test]
    fn a_dropped_child_is_killed_and_reaped() {
        let Spawned { child, stderr, .. } = shell("trap '' TERM; sleep 1000 & sleep 1000");
        let pid = rustix::process::Pid::from_raw(child.pid() as i32).unwrap();
        drop(child);
        read_to_end(&stderr);
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        eventually("it is reaped", || waitid(rustix::process::WaitId::Pid(pid), look).is_err());
    }

    #[test]
    #[cfg(all(target_os = "linux", not(sidestep_portable)))]
    fn a_stopped_child_is_seen() {
        // Stopped while it starts another program, the shell would wait for that in another state.
        let mut spawned = shell("echo up; read line <&3");
        let stdout = spawned.stdout.take().unwrap();
        eventually("it is up", || nix::unistd::read(&stdout, &mut [0; 8]).is_ok());
        spawned.child.kill_group(Signal::SIGSTOP);
        eventually("it is stopped", || spawned.child.is_stopped());
        spawned.child.kill_group(Signal::SIGCONT);
        eventually("it goes on", || !spawned.child.is_stopped());
        spawned.child.kill_group(Signal::SIGKILL);
        reap(&mut spawned.child);
        assert!(!spawned.child.is_stopped());
    }
}
