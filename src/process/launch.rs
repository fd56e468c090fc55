//! One `posix_spawn`: the descriptors, attributes, arguments and environment of a new worker.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
#[cfg(feature = "connect")]
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;
use rustix::fs::OFlags;
use rustix::io::{Errno, FdFlags};
use sidestep_worker::entry::{ARENA_FD, JOBS_FD, MARKER, PAGE_FD, RESULTS_FD};
use sidestep_worker::lent::Ends;
use sidestep_worker::page::Page;

use super::{Child, Memory, Output, Plan, Program, SpawnError, Spawned, sys};

/// File actions run in order, so a descriptor still to be copied must not stand on a number that an earlier action
/// fills. All of ours stand at or above this one.
const ABOVE: RawFd = 10;

/// Starts a worker. `arguments` stand in for the marker in tests.
pub(super) fn launch(plan: &Plan, arguments: Option<&[&str]>) -> Result<Spawned, SpawnError> {
    let failed = |what| move |source| SpawnError { what, source, program: plan.program.to_string() };
    let (ours, theirs) = channel(plan)?;
    let null = open_null().map_err(failed("open /dev/null"))?;
    let no_stdout = plan.stdout == Output::Null || !stdout_is_usable();
    let stdout = theirs.stdout.as_ref().or(no_stdout.then_some(&null));
    let mut files = vec![
        (&null, 0),
        (&theirs.stderr, 2),
        (&theirs.jobs, JOBS_FD),
        (&theirs.results, RESULTS_FD),
        (&theirs.page, PAGE_FD),
    ];
    files.extend(stdout.map(|end| (end, 1)));
    files.extend(theirs.arena.as_ref().map(|arena| (arena, ARENA_FD)));
    let child = start(plan, arguments, &files)?;
    Ok(ours.with(child))
}

/// Starts a worker that is to be lent, with one end of a socket; the other one is ours.
#[cfg(feature = "connect")]
pub(crate) fn launch_lent(plan: &Plan) -> Result<(Child, UnixStream), SpawnError> {
    let failed = |what| move |source| SpawnError { what, source, program: plan.program.to_string() };
    let (ours, theirs) = UnixStream::pair().map_err(failed("make a socket"))?;
    let theirs = high(theirs.into()).map_err(failed("make a socket"))?;
    let null = open_null().map_err(failed("open /dev/null"))?;
    let child = start(plan, None, &[(&null, 0), (&null, 1), (&theirs, JOBS_FD)])?;
    Ok((child, ours))
}

/// Makes a channel: our ends of it, and the worker's. Its stdout is there only if it is captured.
pub(crate) fn channel(plan: &Plan) -> Result<(Ours, Ends<OwnedFd>), SpawnError> {
    let failed = |what| move |source| SpawnError { what, source, program: plan.program.to_string() };
    let (jobs_end, jobs) = pipe().map_err(failed("make a pipe"))?;
    let (results, results_end) = pipe().map_err(failed("make a pipe"))?;
    let (stderr, stderr_end) = pipe().map_err(failed("make a pipe"))?;
    let captured = (plan.stdout == Output::Capture).then(pipe).transpose().map_err(failed("make a pipe"))?;
    let (stdout, stdout_end) = captured.unzip();
    let ours = [Some(&jobs), Some(&results), Some(&stderr), stdout.as_ref()];
    ours.into_iter().flatten().try_for_each(non_blocking).map_err(failed("set up a pipe"))?;

    let page_file = sys::page_file(plan.blocks).and_then(high).map_err(failed("make the shared page"))?;
    let page_file = File::from(page_file);
    let page = Page::create(&page_file, std::process::id()).map_err(failed("map the shared page"))?;
    let reader = |memory: &Arc<Memory>| memory.reader().and_then(high);
    let arena = plan.memory.as_ref().map(reader).transpose().map_err(failed("open the shared memory"))?;
    if arena.is_some() {
        page.announce_arena();
    }
    let ours = Ours { jobs, results, page, stdout, stderr };
    let theirs = Ends {
        jobs: jobs_end,
        results: results_end,
        page: page_file.into(),
        stderr: stderr_end,
        stdout: stdout_end,
        arena,
        directory: None,
    };
    Ok((ours, theirs))
}

/// The pool's ends of a channel.
#[derive(Debug)]
pub(crate) struct Ours {
    jobs: OwnedFd,
    results: OwnedFd,
    page: Page,
    stdout: Option<OwnedFd>,
    stderr: OwnedFd,
}

impl Ours {
    /// The worker at the other end is this one.
    pub(crate) fn with(self, child: Child) -> Spawned {
        let Ours { jobs, results, page, stdout, stderr } = self;
        Spawned { child, jobs, results, page, stdout, stderr }
    }
}

fn start(plan: &Plan, arguments: Option<&[&str]>, files: &[(&OwnedFd, RawFd)]) -> Result<Child, SpawnError> {
    let failed = |what| move |source| SpawnError { what, source, program: plan.program.to_string() };
    let files: Vec<_> = files.iter().map(|(fd, number)| (fd.as_raw_fd(), *number)).collect();
    let pid = start_process(plan, arguments, &files).map_err(failed("start the worker"))?;
    Child::adopt(pid).map_err(failed("watch the worker"))
}

fn start_process(plan: &Plan, arguments: Option<&[&str]>, files: &[(RawFd, RawFd)]) -> io::Result<Pid> {
    let path = match &plan.program {
        Program::Image => sys::image()?,
        Program::Path(path) => path.clone(),
    };
    let mut actions = PosixSpawnFileActions::init()?;
    for (fd, number) in files {
        actions.add_dup2(*fd, *number)?;
    }
    let arguments = command_line(&plan.program, &path, arguments)?;
    Ok(posix_spawn(&path, &actions, &attributes()?, &arguments, &environment(&plan.env)?)?)
}

/// Its own session and group from the first instruction, and signals as a fresh program expects them.
fn attributes() -> io::Result<PosixSpawnAttr> {
    let mut resettable = SigSet::all();
    resettable.remove(Signal::SIGKILL);
    resettable.remove(Signal::SIGSTOP);
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_sigdefault(&resettable)?;
    attributes.set_sigmask(&SigSet::empty())?;
    let signals = PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK;
    attributes.set_flags(signals | PosixSpawnFlags::from_bits_retain(sys::SPAWN_SETSID))?;
    Ok(attributes)
}

fn command_line(program: &Program, path: &Path, arguments: Option<&[&str]>) -> io::Result<Vec<CString>> {
    let name = match program {
        Program::Image => std::env::args_os().next().unwrap_or_else(|| path.into()),
        Program::Path(path) => path.into(),
    };
    let arguments = arguments.unwrap_or(&[MARKER]);
    std::iter::once(name).chain(arguments.iter().map(OsString::from)).map(c_string).collect()
}

fn environment(added: &[(OsString, OsString)]) -> io::Result<Vec<CString>> {
    let mut all: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    all.extend(added.iter().cloned());
    all.into_iter().map(|(name, value)| c_string(assignment(name, &value)?)).collect()
}

fn assignment(mut name: OsString, value: &OsStr) -> io::Result<OsString> {
    // A name may begin with "=" in what was inherited, as on other systems' shells, but not hold one later.
    if name.is_empty() || name.as_encoded_bytes()[1..].contains(&b'=') {
        let what = format!("{name:?} is no name for an environment variable");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    name.push("=");
    name.push(value);
    Ok(name)
}

fn c_string(text: OsString) -> io::Result<CString> {
    Ok(CString::new(text.into_vec())?)
}

/// The read end, then the write end; close-on-exec from birth where the system can.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    Ok((high(reader.into())?, high(writer.into())?))
}

fn open_null() -> io::Result<OwnedFd> {
    high(File::options().read(true).write(true).open("/dev/null")?.into())
}

fn high(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= ABOVE {
        return Ok(fd);
    }
    match rustix::io::fcntl_dupfd_cloexec(&fd, ABOVE) {
        Err(Errno::INVAL) => Err(Errno::MFILE.into()), // not even that number is within the limit
        result => Ok(result?),
    }
}

/// Only for the parent's ends: the flag belongs to one end of a pipe, and the worker's must block.
fn non_blocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

/// Whether number 1 is this process's stdout, and not closed, or a file that has got the number of a closed one.
pub(crate) fn stdout_is_usable() -> bool {
    rustix::io::fcntl_getfd(io::stdout()).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC))
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use sidestep_worker::page::{PAGE, WITH_BLOCKS};

    use super::super::testing::{alone, open_descriptors, plan, read_to_end, reap, shell};
    use super::*;

    fn printed(script: &str) -> String {
        let mut spawned = shell(script);
        let text = read_to_end(&spawned.stdout.take().unwrap());
        assert_eq!(reap(&mut spawned.child), super::super::Exit::Code(0), "{}", read_to_end(&spawned.stderr));
        text
    }

    #[test]
    fn stdin_is_empty_and_outputs_are_apart() {
        assert_eq!(printed("echo not here >&2; cat; echo here"), "here\n");
    }

    #[test]
    fn the_channel_stands_on_its_numbers() {
        let mut spawned = shell("cat <&3 >&4; stat -L -c %s /proc/self/fd/5");
        nix::unistd::write(&spawned.jobs, b"there and back").unwrap();
        drop(spawned.jobs);
        assert_eq!(read_to_end(&spawned.results), "there and back");
        assert_eq!(
            read_to_end(&spawned.stdout.take().unwrap()).trim(),
            if spawned.page.blocks() > 0 { WITH_BLOCKS } else { PAGE }.to_string()
        );
        reap(&mut spawned.child);
    }

    #[test]
    fn only_the_parents_ends_do_not_block() {
        let flags = printed("cat /proc/$$/fdinfo/3 /proc/$$/fdinfo/4 | sed -n 's/^flags:.//p'");
        let flags: Vec<_> = flags.lines().map(|line| i32::from_str_radix(line.trim(), 8).unwrap()).collect();
        assert!(
            flags.len() == 2 && flags.iter().all(|flags| flags & nix::libc::O_NONBLOCK == 0),
            "{flags:?}"
        );
    }

    #[test]
    fn signals_are_as_a_fresh_program_expects_them() {
        let masks = printed("exec sed -n 's/^Sig\\(Blk\\|Ign\\)://p' /proc/self/status");
        assert!(
            masks.split_whitespace().all(|mask| u64::from_str_radix(mask, 16).unwrap() & !(3 << 31) == 0),
            "{masks}"
        );
    }

    #[test]
    fn a_worker_leads_its_own_session() {
        let spawned = shell("sleep 1000");
        let pid = Pid::from_raw(spawned.child.pid() as i32);
        assert_eq!(nix::unistd::getsid(Some(pid)), Ok(pid));
        assert_eq!(nix::unistd::getpgid(Some(pid)), Ok(pid));
    }

    #[test]
    fn of_two_variables_with_one_name_the_later_counts() {
        let mut plan = plan("/bin/sh");
        plan.env = [("SIDE", "a"), ("STEP", "b"), ("SIDE", "c")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        let mut spawned =
            launch(&plan, Some(&["-c", "echo $SIDE$STEP${PATH:+d}; env | grep -c ^SIDE="])).unwrap();
        assert_eq!(read_to_end(&spawned.stdout.take().unwrap()), "cbd\n1\n");
        reap(&mut spawned.child);
        plan.env = vec![("A=B".into(), "c".into())];
        assert!(launch(&plan, None).unwrap_err().to_string().contains("A=B"));
    }

    #[test]
    fn no_worker_holds_anothers_pipes() {
        let (mut one, other) = (shell("cat <&3"), shell("sleep 1000"));
        drop(one.jobs);
        reap(&mut one.child);
        read_to_end(&one.results);
        read_to_end(&one.stderr);
        drop(other);
    }

    #[test]
    fn a_program_that_cannot_run_is_named() {
        let error = launch(&plan("/no/such/program"), None).unwrap_err();
        assert_eq!((error.errno(), error.is_transient()), (Errno::ENOENT, false));
        assert!(error.to_string().contains("/no/such/program"));
        assert_eq!(launch(&plan("/etc"), None).unwrap_err().errno(), Errno::EACCES);
    }

    /// Alone, because other tests open descriptors too.
    #[test]
    #[ignore = "counts the descriptors of the whole process"]
    fn descriptors_are_counted() {
        drop(shell("exit 0"));
        let before = open_descriptors();
        for _ in 0..20 {
            let mut spawned = shell("exit 0");
            assert!(open_descriptors() <= before + 6);
            reap(&mut spawned.child);
            launch(&plan("/no/such/program"), None).unwrap_err();
        }
        super::super::testing::eventually("none is left", || open_descriptors() <= before);
    }

    #[test]
    fn no_descriptor_is_left_behind() {
        alone("launch::tests::descriptors_are_counted");
    }

    #[test]
    #[ignore = "closes what every process has"]
    fn standard_descriptors_are_closed() {
        let standard = [0, 1, 2].map(|fd| {
            // SAFETY: these three are open here and nobody closes them meanwhile.
            let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
            rustix::io::fcntl_dupfd_cloexec(fd, 30).unwrap()
        });
        (0..3).for_each(|fd| nix::unistd::close(fd).unwrap());
        let outcome = std::panic::catch_unwind(|| {
            let script = "cat; echo lost; echo kept >&2; cat <&3 >&4";
            let plan = Plan { stdout: Output::Inherit, ..plan("/bin/sh") };
            let mut spawned = launch(&plan, Some(&["-c", script])).unwrap();
            nix::unistd::write(&spawned.jobs, b"frames").unwrap();
            drop(spawned.jobs);
            let texts = (read_to_end(&spawned.results), read_to_end(&spawned.stderr));
            (texts, reap(&mut spawned.child), rustix::io::fcntl_getfd(io::stdout()).is_err())
        });
        nix::unistd::dup2_stdin(&standard[0]).unwrap();
        nix::unistd::dup2_stdout(&standard[1]).unwrap();
        nix::unistd::dup2_stderr(&standard[2]).unwrap();
        let texts = ("frames".to_owned(), "kept\n".to_owned());
        assert_eq!(outcome.unwrap(), (texts, super::super::Exit::Code(0), true));
    }

    #[test]
    fn closed_standard_descriptors_are_in_nobodys_way() {
        alone("launch::tests::standard_descriptors_are_closed");
    }

    #[test]
    #[ignore = "limits the whole process"]
    fn descriptors_run_out() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let _filler: Vec<_> = (0..8).map(|_| open_null().unwrap()).collect();
        let open = open_descriptors() as u64 + 4;
        setrlimit(Resource::RLIMIT_NOFILE, open, hard).unwrap();
        let error = launch(&plan("/bin/sh"), None).unwrap_err();
        assert!(error.errno() == Errno::EMFILE && error.is_transient(), "{error}");
        // The spawner raises the soft limit and tries again.
        let (sender, receiver) = std::sync::mpsc::channel();
        let done = move |result| sender.send(result).unwrap();
        super::super::spawn(std::sync::Arc::new(plan("/bin/sh")), Box::new(done));
        reap(&mut receiver.recv().unwrap().unwrap().child);
    }

    #[test]
    fn too_few_descriptors_are_a_passing_error_or_none() {
        alone("launch::tests::descriptors_run_out");
    }
}
