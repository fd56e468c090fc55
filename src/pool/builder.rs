//! A pool's options.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sidestep_worker::blocks::Buffer;
use sidestep_worker::wire::NamedCall;
use sidestep_worker::{Job, entry, registry};

use crate::engine::scheduler::{Backoff, Bounds, Limits, Recycling, Terms};
use crate::engine::{Arena, Config, Engine};
use crate::error::PoolError;
#[cfg(feature = "connect")]
use crate::lending::Borrower;
use crate::process::{Gauge, Memory, Output, Plan, Program};

use super::Pool;

/// What a pool is made with; see [`Pool::builder`].
///
/// ```no_run
/// # fn open_log(path: String) {}
/// let pool = sidestep::Pool::builder()
///     .workers(8)
///     .initializer(open_log, ("work.log".to_owned(),))
///     .env("RUST_LOG", "debug")
///     .build()?;
/// # Ok::<(), sidestep::PoolError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder makes no pool until `build` is called"]
pub struct Builder {
    workers: Option<usize>,
    program: Program,
    env: Vec<(OsString, OsString)>,
    stdout: Output,
    stderr: Output,
    directory: Option<PathBuf>,
    start_timeout: Duration,
    terms: Terms,
    backoff: Backoff,
    limits: Limits,
    nice: i32,
    core_dumps: bool,
    grace: Duration,
    initializer: Option<Named>,
    finalizer: Option<Named>,
    name: String,
    recycling: Recycling,
    bounds: Bounds,
}

/// A function of the user's that is called in each worker, or why it cannot be.
type Named = Result<NamedCall, String>;

impl Builder {
    pub(super) fn new() -> Builder {
        Builder {
            workers: None,
            program: Program::Image,
            env: Vec::new(),
            stdout: Output::default(),
            stderr: Output::default(),
            directory: None,
            start_timeout: Duration::from_secs(10),
            terms: Terms::default(),
            backoff: Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(5) },
            limits: Limits::default(),
            nice: 0,
            core_dumps: false,
            grace: Duration::from_secs(1),
            initializer: None,
            finalizer: None,
            name: "pool".into(),
            recycling: Recycling::default(),
            bounds: Bounds::default(),
        }
    }

    /// How many workers. Without it: as many as the processors that this process may use, affinity and cgroup included.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Calls a job once in each worker, before any other. Its `Err` or its panic makes [`build`](Self::build) fail with
    /// [`PoolError::Initializer`]; in a worker that replaces another it breaks the pool.
    ///
    /// It must be registered like any job. It has the start timeout to end.
    pub fn initializer<F, Args>(mut self, f: F, args: Args) -> Self
    where
        F: Job<Args>,
    {
        self.initializer = Some(named(f, &args));
        self
    }

    /// Calls a job once in each worker that ends in good order: when it is retired, and after [`Pool::close`]. Never on
    /// [`Pool::terminate`]. It has ten seconds to end. What it returns is dropped.
    pub fn finalizer<F, Args>(mut self, f: F, args: Args) -> Self
    where
        F: Job<Args>,
    {
        self.finalizer = Some(named(f, &args));
        self
    }

    /// Replaces a worker after this many jobs: for jobs that leak, or leave something behind. 1 gives each job a process
    /// of its own.
    ///
    /// In `map` and its kind each item counts. The worker ends in good order, after its finalizer, and the next one starts
    /// in its place once it is gone. With 10 or more a worker is replaced up to a tenth earlier, each at a count of its
    /// own choice, so that workers that started together are not all replaced together. 0 makes [`build`](Self::build) fail
    /// with [`PoolError::Config`].
    ///
    /// ```no_run
    /// let pool = sidestep::Pool::builder().max_jobs_per_worker(1000).build()?;
    /// # Ok::<(), sidestep::PoolError>(())
    /// ```
    pub fn max_jobs_per_worker(mut self, jobs: u64) -> Self {
        self.recycling.max_jobs = Some(jobs);
        self
    }

    /// Replaces a worker when it has served for this long, idle or not: for what grows old in a process, as
    /// [`max_jobs_per_worker`](Self::max_jobs_per_worker) does for what adds up.
    ///
    /// The job that it runs then may end; what it has not begun goes to others. Each worker is replaced up to a tenth
    /// earlier, so that not all are replaced together. A worker that was sent something ends at least one job. Zero makes
    /// [`build`](Self::build) fail with [`PoolError::Config`].
    pub fn max_age(mut self, age: Duration) -> Self {
        self.recycling.max_age = Some(age);
        self
    }

    /// How many jobs may wait: those that were submitted and have not begun. Without it: any number.
    ///
    /// Beyond it, `apply_async`, `map_async` and `starmap_async` block until there is room, and `map`, `starmap`, `imap`
    /// and `imap_unordered` take their input as there is. Those who wait have their turns in the order in which they
    /// came. Callbacks never wait, nor does a `Deserialize` or a `Waker` that submits; what comes back from a worker that
    /// died is not held up either. A wait ends with its error when the pool is closed or ended: then nothing more is
    /// taken, but for the rest of a `map` that has begun when the pool is closed. 0 makes [`build`](Self::build) fail with
    /// [`PoolError::Config`].
    ///
    /// ```no_run
    /// # fn parse(line: String) -> usize { line.len() }
    /// let pool = sidestep::Pool::builder().queue_limit(1000).queue_bytes(64 << 20).build()?;
    /// for line in std::io::stdin().lines().map_while(Result::ok) {
    ///     drop(pool.call(parse).on_success(|length| println!("{length}")).apply_async((line,)));
    /// }
    /// # Ok::<(), sidestep::PoolError>(())
    /// ```
    pub fn queue_limit(mut self, jobs: usize) -> Self {
        self.bounds.jobs = Some(jobs);
        self
    }

    /// How many bytes of encoded arguments may wait, as [`queue_limit`](Self::queue_limit) says how many jobs. Without
    /// it: any number.
    ///
    /// A job whose arguments alone are larger is let in when no other waits.
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.bounds.bytes = Some(bytes);
        self
    }

    /// How long a worker may take until it serves, its initializer included. 10 seconds without it.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// Where what jobs write to stdout goes. Without it: where this process's own goes.
    pub fn stdout(mut self, output: Output) -> Self {
        self.stdout = output;
        self
    }

    /// Where what jobs write to stderr goes. Without it: where this process's own goes, line by line.
    pub fn stderr(mut self, output: Output) -> Self {
        self.stderr = output;
        self
    }

    /// Sets an environment variable of the workers.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The directory in which the workers work. Without it: this process's own at the time a worker starts.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Runs another program in the workers, which calls [`sidestep::init`](crate::init) too. Its jobs are called
    /// [by name](Pool::apply_by_name), or as functions where both programs have them under the same name.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Program::Path(path.into());
        self
    }

    /// Ends a job that runs for longer, with [`JobError::TimedOut`](crate::JobError::TimedOut). Without it: no limit. Zero is
    /// refused.
    ///
    /// The clock starts when a worker begins the job, not when it is submitted or sent, and holds for each item of a
    /// `map` alone. At the limit the job's handle resolves, and the worker's whole process group gets SIGTERM, then,
    /// after the [`grace`](Self::grace), SIGKILL; another worker takes its place. What a job returns after its limit is
    /// dropped.
    ///
    /// ```no_run
    /// # fn render(page: u32) {}
    /// # use std::time::Duration;
    /// let pool = sidestep::Pool::builder().timeout(Duration::from_secs(60)).retries(2).build()?;
    /// let outcome = pool.call(render).timeout(Duration::from_secs(5)).apply((7,));
    /// # Ok::<(), sidestep::PoolError>(())
    /// ```
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.terms.limit = Some(limit);
        self
    }

    /// Tries a job again, up to so many times, that panicked, lost its worker or came to a limit. Without it: each job
    /// is tried once.
    ///
    /// So what a job has done outside of its process it may do more than once; [`context().id()`](crate::Context::id) is the
    /// same in each attempt. Two attempts never run at a time. A job that has killed three workers ends with
    /// [`JobError::Poisoned`](crate::JobError::Poisoned), however many retries are left.
    pub fn retries(mut self, retries: u32) -> Self {
        self.terms.retries = retries;
        self
    }

    /// The pause before a job's second attempt; it doubles with each attempt, up to `max`. By chance it is shorter, by up
    /// to a half, so that what failed together is not tried together. Without it: 50 ms and 5 s.
    pub fn retry_delay(mut self, first: Duration, max: Duration) -> Self {
        self.backoff = Backoff { first, longest: max };
        self
    }

    /// Ends a job whose worker has more resident memory than this, in bytes, with
    /// [`JobError::MemoryLimit`](crate::JobError::MemoryLimit). Without it: no limit. Zero is refused, and so is any limit on
    /// a system without `/proc`.
    ///
    /// The memory is the worker's own, with the program itself and what earlier jobs have left in it; programs that a job
    /// starts do not count. It is measured every 10 ms while a job runs. At the limit the worker is killed at once, with what
    /// its jobs have started, and another takes its place. A worker that dies for want of memory with nine tenths of the
    /// limit in use counts too. [`retries`](Self::retries) try such a job again, and as a death it counts towards
    /// [`JobError::Poisoned`](crate::JobError::Poisoned). A worker that is found to have too much when no job is to blame is
    /// replaced, and nobody pays.
    ///
    /// Between two measurements a job may exceed the limit by what it can touch in that time: some tens of MiB with one
    /// thread on usual machines, more on a machine that is too busy to measure in time. As a last barrier the system refuses
    /// the worker more than twice the limit and 1 GiB of private memory, be it in use or only reserved; then an allocation
    /// fails.
    ///
    /// ```no_run
    /// # fn parse(path: String) -> u64 { 0 }
    /// # let paths = ["a".to_owned()];
    /// let pool = sidestep::Pool::builder().memory_limit(2 << 30).build()?;
    /// for outcome in pool.imap(parse, paths) {
    ///     if let Err(error @ sidestep::JobError::MemoryLimit { .. }) = outcome {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// # Ok::<(), sidestep::PoolError>(())
    /// ```
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.limits.memory = Some(bytes);
        self
    }

    /// Ends a job that uses more processor time, with [`JobError::CpuLimit`](crate::JobError::CpuLimit). Without it: no
    /// limit. Zero is refused, and so is any limit on a system without `/proc`.
    ///
    /// It is the time of all threads of the job's worker since the job began: two busy threads use two seconds in a second,
    /// and a job that waits uses none. Programs that it starts do not count. It is measured every 10 ms. At the limit the job
    /// ends as at its [`timeout`](Self::timeout).
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// let pool = sidestep::Pool::builder().cpu_limit(Duration::from_secs(10)).build()?;
    /// # Ok::<(), sidestep::PoolError>(())
    /// ```
    pub fn cpu_limit(mut self, limit: Duration) -> Self {
        self.limits.cpu = Some(limit);
        self
    }

    /// Added to the workers' niceness, which is this process's own without it: at 19 they run when nobody else wants the
    /// processor. Less than 0 takes a privilege; without that [`build`](Self::build) fails with [`PoolError::Initializer`].
    pub fn nice(mut self, increment: i32) -> Self {
        self.nice = increment;
        self
    }

    /// Whether a worker that crashes may leave a core dump, as far as the hard limit allows. Without it: no, because many
    /// crashing inputs would fill a disk.
    pub fn core_dumps(mut self, allow: bool) -> Self {
        self.core_dumps = allow;
        self
    }

    /// How long a worker may take to end after SIGTERM, before it is killed. Without it: 1 s. See
    /// [`timeout`](Self::timeout).
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// A name for the pool's thread.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Starts the workers. Returns when each has a process and the first one serves.
    ///
    /// Too few descriptors, processes or memory for more than the first worker is no error: the pool runs with what it
    /// has and tries again.
    ///
    /// # Errors
    /// - [`PoolError::Config`]: an option that cannot be.
    /// - [`PoolError::Spawn`]: no process can be started.
    /// - [`PoolError::Start`]: a worker does not get ready, mostly because `main` does not begin with `sidestep::init()`.
    /// - [`PoolError::Mismatch`]: the workers' program is another build.
    /// - [`PoolError::Initializer`]: the initializer has failed.
    /// - [`PoolError::Nested`]: this is a worker copy that has not reached `sidestep::init()`.
    pub fn build(self) -> Result<Pool, PoolError> {
        if entry::is_worker_copy() && !entry::is_serving() {
            return Err(PoolError::Nested);
        }
        self.check()?;
        let same_image = self.program == Program::Image;
        if same_image && registry::table().is_none() {
            return Err(PoolError::Start {
                message: "this program has not called sidestep::init()".into(),
                stderr_tail: String::new(),
            });
        }
        let workers = match self.workers {
            Some(0) => return Err(no_workers()),
            Some(workers) => workers,
            None => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        };
        #[cfg(sidestep_borrowed)]
        if self.of_a_start().is_none() && same_image {
            let name = crate::lending::beside::start(workers)?;
            return Builder { workers: Some(workers), ..self }.connect(&name);
        }
        Ok(Pool { engine: Engine::start(self.config(workers, same_image)?)? })
    }

    fn config(self, workers: usize, same_image: bool) -> Result<Config, PoolError> {
        let call = |call: Option<Named>, option: &str| {
            call.transpose().map_err(|why| PoolError::Config { what: format!("{option}: {why}") })
        };
        // Memory that is kept warm would count as the next job's.
        let is_measured = self.limits.memory.is_some();
        let memory = if is_measured { None } else { Memory::new().ok().map(Arc::new) };
        let plan = Plan {
            program: self.program,
            env: self.env,
            stdout: self.stdout,
            stderr: self.stderr,
            max_workers_hint: workers,
            memory: memory.clone(),
            blocks: !is_measured,
        };
        Ok(Config {
            workers,
            plan: Arc::new(plan),
            start_timeout: self.start_timeout,
            terms: self.terms,
            backoff: self.backoff,
            limits: self.limits,
            nice: self.nice,
            core_dumps: self.core_dumps,
            grace: self.grace,
            initializer: call(self.initializer, "initializer")?,
            finalizer: call(self.finalizer, "finalizer")?,
            directory: self.directory.map(|directory| directory.into_os_string().into_vec()),
            same_image,
            arena: memory.map(Arena::new),
            name: self.name,
            recycling: self.recycling,
            bounds: self.bounds,
            #[cfg(feature = "connect")]
            borrower: None,
        })
    }

    /// A pool of workers that another process keeps warm and lends: that of `pool-run --serve NAME`. It has as many workers
    /// as it has jobs, but no more than [`workers`](Self::workers) says, or the server has, and gives some back while
    /// others wait for them.
    ///
    /// Everything is as in a pool of one's own, but for what belongs to a worker's start, which is the server's:
    /// [`initializer`](Self::initializer), [`finalizer`](Self::finalizer), [`env`](Self::env), [`nice`](Self::nice),
    /// [`program`](Self::program), [`core_dumps`](Self::core_dumps), [`memory_limit`](Self::memory_limit),
    /// [`max_jobs_per_worker`](Self::max_jobs_per_worker) and [`max_age`](Self::max_age) are refused. Jobs run in this
    /// process's directory unless [`current_dir`](Self::current_dir) says otherwise. What a job leaves behind in its
    /// worker, in a `static` say, those of other programs may find there.
    ///
    /// `name` is what the server was started with; with a slash in it, it is the path of a socket.
    ///
    /// # Errors
    /// - [`PoolError::Server`]: there is no such server, it is another user's, or of another release.
    /// - [`PoolError::Config`]: an option that cannot be.
    /// - [`PoolError::Nested`]: this is a worker copy that has not reached `sidestep::init()`.
    #[cfg(feature = "connect")]
    pub fn connect(self, name: &str) -> Result<Pool, PoolError> {
        if entry::is_worker_copy() && !entry::is_serving() {
            return Err(PoolError::Nested);
        }
        self.check()?;
        if let Some(option) = self.of_a_start() {
            let what =
                format!("{option}: workers that are borrowed were started by their server: say it there");
            return Err(PoolError::Config { what });
        }
        let (borrower, listening) = Borrower::connect(name)?;
        let workers = match self.workers {
            Some(0) => return Err(no_workers()),
            Some(most) => most.min(borrower.workers()),
            None => borrower.workers(),
        };
        let config = Config { borrower: Some(borrower), ..self.config(workers, false)? };
        Ok(Pool { engine: Engine::start_borrowed(config, listening)? })
    }

    /// An option that was set and is about how workers start.
    #[cfg(feature = "connect")]
    fn of_a_start(&self) -> Option<&'static str> {
        let options = [
            ("initializer", self.initializer.is_some()),
            ("finalizer", self.finalizer.is_some()),
            ("env", !self.env.is_empty()),
            ("nice", self.nice != 0),
            ("program", self.program != Program::Image),
            ("core_dumps", self.core_dumps),
            ("memory_limit", self.limits.memory.is_some()),
            ("max_jobs_per_worker", self.recycling.max_jobs.is_some()),
            ("max_age", self.recycling.max_age.is_some()),
        ];
        options.into_iter().find(|(_, is_set)| *is_set).map(|(option, _)| option)
    }

    /// Refuses limits that nothing could keep, and those that this system cannot watch.
    fn check(&self) -> Result<(), PoolError> {
        let Recycling { max_jobs, max_age } = self.recycling;
        let Limits { memory, cpu } = self.limits;
        let what = if max_jobs == Some(0) {
            "max_jobs_per_worker(0): a worker runs at least one job".into()
        } else if max_age == Some(Duration::ZERO) {
            "max_age(0): a worker lives for some time".into()
        } else if self.terms.limit == Some(Duration::ZERO) {
            "timeout(0): a job needs some time".into()
        } else if self.bounds.jobs == Some(0) {
            "queue_limit(0): nothing could ever be submitted".into()
        } else if self.bounds.bytes == Some(0) {
            "queue_bytes(0): nothing could ever be submitted".into()
        } else if cpu == Some(Duration::ZERO) {
            "cpu_limit(0): a job needs some time".into()
        } else if memory == Some(0) {
            "memory_limit(0): a worker needs some memory".into()
        } else if self.limits.any()
            && let Err(error) = Gauge::open(std::process::id())
        {
            let option = if memory.is_some() { "memory_limit" } else { "cpu_limit" };
            format!("{option}: this system does not tell what a process uses (/proc: {error})")
        } else {
            return Ok(());
        };
        Err(PoolError::Config { what })
    }
}

pub(super) fn no_workers() -> PoolError {
    PoolError::Config { what: "workers(0): a pool needs at least one worker".into() }
}

/// A registered function and its arguments, as they travel in a worker's setup.
fn named<F: Job<Args>, Args>(_: F, args: &Args) -> Named {
    let info = registry::table().and_then(|table| table.info(table.number_of::<F>()?));
    let Some(info) = info else {
        let name = std::any::type_name::<F>();
        return Err(format!(
            "{name} is no registered job; mark it with #[sidestep::job] and call sidestep::init() first"
        ));
    };
    let mut bytes = Vec::new();
    F::encode_args(args, &mut Buffer::new(&mut bytes, None))
        .map_err(|error| format!("its arguments cannot be sent: {error}"))?;
    Ok(NamedCall { name: info.name.clone(), args: bytes })
}
