//! One call of a job: the eight methods, and the options that they take.

use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use sidestep_worker::Job;
use sidestep_worker::blocks::Buffer;
use sidestep_worker::codec::CodecError;
use sidestep_worker::registry;
use sidestep_worker::wire::Encoding;

use crate::engine::Engine;
use crate::engine::scheduler::{TaskSpec, Terms};
use crate::error::JobError;

use super::decode::{Decoder, decode};
use super::feed::{Feed, Filled, Full};
use super::handle::{Cell, Which};
use super::hook::{Function, Hook, Hooks, Judge};
use super::imap::Imap;
use super::many::Results;
use super::stream::{Order, Stream};
use super::submit::submit;
use super::{JobHandle, MapHandle, Name, Pool};

/// A job that is about to be called, with options of its own.
///
/// ```no_run
/// # fn parse(line: String) -> usize { line.len() }
/// # let pool = sidestep::Pool::new(2)?;
/// # let lines = ["a".to_owned()];
/// let lengths = pool
///     .call(parse)
///     .chunk_size(100)
///     .on_error(|error| eprintln!("{error}"))
///     .map(lines)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is called until one of the eight methods is"]
pub struct Call<'p, F> {
    engine: &'p Arc<Engine>,
    /// A job is its type: the function itself has no size.
    job: PhantomData<F>,
    chunk: Option<usize>,
    /// An option that cannot be.
    bad: Option<String>,
    on_error: Option<Function<JobError>>,
    /// A `Function<R>`; the type of `R` is known only when a method is called.
    on_success: Option<Box<dyn std::any::Any + Send>>,
    /// A `Judge<R>`, likewise.
    retry_if: Option<Box<dyn std::any::Any + Send>>,
    terms: Terms,
}

/// How a job is found and called, once its types are known.
struct Target<R> {
    /// Its number in this program.
    number: u32,
    name: Name,
    spec: TaskSpec,
    hooks: Hooks<R>,
}

impl<'p, F> Call<'p, F> {
    pub(super) fn new(pool: &'p Pool) -> Call<'p, F> {
        Call {
            engine: &pool.engine,
            job: PhantomData,
            chunk: None,
            bad: None,
            on_error: None,
            on_success: None,
            retry_if: None,
            terms: pool.engine.config.terms,
        }
    }

    /// Sends the items of a `map` in pieces of this many, instead of pieces sized by what the items take.
    ///
    /// You rarely need it. Whatever the size, errors, crashes, callbacks and counters are per item. 0 makes the call
    /// end with [`JobError::InvalidCall`].
    pub fn chunk_size(mut self, items: usize) -> Self {
        match items {
            0 => self.bad = Some("chunk_size(0): a chunk has at least one item".into()),
            _ => self.chunk = Some(items),
        }
        self
    }

    /// Ends a job that runs for longer, with [`JobError::TimedOut`]. Without it: the pool's
    /// [`timeout`](crate::Builder::timeout), which says how. Zero makes the call end with [`JobError::InvalidCall`].
    ///
    /// The time is that of one item, also in a `map`; it does not count while the item waits.
    pub fn timeout(mut self, limit: Duration) -> Self {
        match limit {
            Duration::ZERO => self.bad = Some("timeout(0): a job needs some time".into()),
            _ => self.terms.limit = Some(limit),
        }
        self
    }

    /// Tries a job again, up to so many times, that panicked, lost its worker or came to a limit. Without it: the pool's
    /// [`retries`](crate::Builder::retries), which says how.
    pub fn retries(mut self, retries: u32) -> Self {
        self.terms.retries = retries;
        self
    }

    /// Tries a job again whose result the function says is no good: mostly, that is an `Err` of its own. How often is
    /// said by [`retries`](Self::retries); the last result is the one that counts, good or not.
    ///
    /// The function has a result decoded for itself. It runs on the thread that moves results, so it must be quick;
    /// one that panics lets the result pass. With a type that is not the job's result, the call ends with
    /// [`JobError::InvalidCall`].
    ///
    /// ```no_run
    /// # fn fetch(url: String) -> Result<String, String> { Ok(url) }
    /// # let pool = sidestep::Pool::new(2)?;
    /// let page = pool.call(fetch).retries(3).retry_if(Result::<String, String>::is_err).apply(("a".into(),))??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry_if<R: 'static>(mut self, again: impl Fn(&R) -> bool + Send + Sync + 'static) -> Self {
        let judge: Judge<R> = Arc::new(again);
        self.retry_if = Some(Box::new(judge));
        self
    }

    /// Calls `then` with each result, in the order in which jobs end, on a thread of the pool's own that moves no results.
    ///
    /// It gets a copy of its own, decoded once more. If it panics, nothing else is harmed. It may use the pool, and
    /// even close or drop it.
    pub fn on_success<Args>(mut self, then: impl FnMut(&F::Output) + Send + 'static) -> Self
    where
        F: Job<Args>,
    {
        let then: Function<F::Output> = Box::new(then);
        self.on_success = Some(Box::new(then));
        self
    }

    /// Calls `then` with each error, as [`on_success`](Self::on_success) does with each result.
    pub fn on_error(mut self, then: impl FnMut(&JobError) + Send + 'static) -> Self {
        self.on_error = Some(Box::new(then));
        self
    }

    fn target<Args>(&mut self, lazy: bool) -> Result<Target<F::Output>, JobError>
    where
        F: Job<Args>,
    {
        if let Some(what) = self.bad.take() {
            return Err(JobError::InvalidCall { what });
        }
        let own = registry::table().and_then(|table| {
            let number = table.number_of::<F>()?;
            Some((number, table.info(number)?))
        });
        let Some((number, info)) = own else {
            return Err(JobError::NotRegistered {
                name: format!("the function {}", std::any::type_name::<F>()),
            });
        };
        let job = self.engine.table().and_then(|table| table.number_of_own(number));
        let Some(job) = job else {
            return Err(JobError::NotRegistered {
                name: format!("\"{}\" in the workers' program", info.name),
            });
        };
        let callbacks = &self.engine.callbacks;
        let retry_if = match self.retry_if.take().map(|judge| judge.downcast::<Judge<F::Output>>()) {
            None => None,
            Some(Ok(judge)) => Some(*judge),
            Some(Err(_)) => {
                let output = std::any::type_name::<F::Output>();
                return Err(JobError::InvalidCall {
                    what: format!("retry_if: the job's result is a {output}"),
                });
            }
        };
        let on_success = self.on_success.take().and_then(|then| then.downcast().ok());
        let hooks = Hooks {
            on_success: on_success.map(|then| Hook::new(callbacks.clone(), *then)),
            on_error: self.on_error.take().map(|then| Hook::new(callbacks.clone(), then)),
            retry_if,
        };
        let chunk = self.chunk.map(|items| u32::try_from(items).unwrap_or(u32::MAX));
        let spec = TaskSpec { job, encoding: Encoding::Binary, chunk, lazy, terms: self.terms };
        Ok(Target { number, name: Name::Borrowed(&info.name), spec, hooks })
    }

    /// See [`Pool::apply`].
    ///
    /// # Errors
    /// See [`Pool::apply`].
    pub fn apply<Args>(self, args: Args) -> Result<F::Output, JobError>
    where
        F: Job<Args>,
    {
        self.start(args).get()
    }

    /// See [`Pool::apply_async`].
    pub fn apply_async<Args>(self, args: Args) -> JobHandle<F::Output>
    where
        F: Job<Args>,
    {
        let engine = self.engine;
        let handle = self.start(args);
        engine.rouse();
        handle
    }

    fn start<Args>(mut self, args: Args) -> JobHandle<F::Output>
    where
        F: Job<Args>,
    {
        let target = match self.target(false) {
            Ok(target) => target,
            Err(error) => return self.refused(error),
        };
        let cell = Cell::new(Which::Own(target.number), decode::<F::Output>, target.hooks);
        submit(self.engine, cell, target.spec, |out| F::encode_args(&args, out))
    }

    fn refused<R>(self, error: JobError) -> JobHandle<R> {
        let hooks = Hooks {
            on_success: None,
            on_error: self.on_error.map(|then| Hook::new(self.engine.callbacks.clone(), then)),
            retry_if: None,
        };
        let cell = Cell::new(Which::Named(Name::default()), |_| Err(String::new()), hooks);
        cell.refuse(0, error);
        JobHandle { cell: Arc::new(cell), engine: Arc::downgrade(self.engine) }
    }

    /// See [`Pool::map`].
    ///
    /// # Errors
    /// See [`Pool::map`].
    pub fn map<A, I>(self, items: I) -> Result<Vec<F::Output>, JobError>
    where
        F: Job<(A,)>,
        I: IntoIterator<Item = A>,
    {
        self.feed(items.into_iter().map(|item| (item,))).get()
    }

    /// See [`Pool::map_async`].
    pub fn map_async<A, I>(self, items: I) -> MapHandle<F::Output>
    where
        F: Job<(A,)>,
        I: IntoIterator<Item = A>,
    {
        self.starmap_async(items.into_iter().map(|item| (item,)))
    }

    /// See [`Pool::starmap`].
    ///
    /// # Errors
    /// See [`Pool::starmap`].
    pub fn starmap<Args, I>(self, items: I) -> Result<Vec<F::Output>, JobError>
    where
        F: Job<Args>,
        I: IntoIterator<Item = Args>,
    {
        self.feed(items).get()
    }

    /// See [`Pool::starmap_async`].
    pub fn starmap_async<Args, I>(self, items: I) -> MapHandle<F::Output>
    where
        F: Job<Args>,
        I: IntoIterator<Item = Args>,
    {
        let engine = self.engine;
        let handle = self.feed(items);
        engine.rouse();
        handle
    }

    fn feed<Args>(mut self, items: impl IntoIterator<Item = Args>) -> MapHandle<F::Output>
    where
        F: Job<Args>,
    {
        let engine = Arc::downgrade(self.engine);
        let target = match self.target(false) {
            Ok(target) => target,
            Err(error) => {
                let results = Results::new(Name::default(), Decoder::CODEC, Hooks::default());
                results.end(error);
                return MapHandle { results: Arc::new(results), engine };
            }
        };
        let results = Arc::new(Results::new(target.name, Decoder::CODEC, target.hooks));
        let handle = MapHandle { results: results.clone(), engine };
        let Some(mut feed) = Feed::open(self.engine, results.clone(), target.spec, Full::Waits) else {
            results.end(self.engine.refusal());
            return handle;
        };
        results.belongs_to(self.engine, feed.task);
        let mut items = items.into_iter();
        while feed.refused.is_empty() {
            let next = || if results.is_ready() { None } else { items.next() };
            match feed.fill(next, |args, out| F::encode_args(&args, out)) {
                Filled::Whole => {}
                Filled::NoMore => break,
                Filled::Failed { index, id, error } => {
                    results.refuse(index as usize, results.place(id).encode(error));
                }
                // The feed is dropped, which withdraws what has not started.
                Filled::Panicked(panic) => resume_unwind(panic),
            }
        }
        let total = feed.finish();
        if let Some(first) = feed.first_id {
            let _ = results.id.set(first);
        }
        if !feed.refused.is_empty() {
            results.end(self.engine.refusal());
        }
        results.set_total(total as usize);
        handle
    }

    /// See [`Pool::imap`].
    pub fn imap<A, I>(self, items: I) -> Imap<'p, I::IntoIter, F::Output>
    where
        F: Job<(A,)>,
        I: IntoIterator<Item = A>,
    {
        self.stream(items, Order::Input)
    }

    /// See [`Pool::imap_unordered`].
    pub fn imap_unordered<A, I>(self, items: I) -> Imap<'p, I::IntoIter, F::Output>
    where
        F: Job<(A,)>,
        I: IntoIterator<Item = A>,
    {
        self.stream(items, Order::Completion)
    }

    fn stream<A, I>(mut self, items: I, order: Order) -> Imap<'p, I::IntoIter, F::Output>
    where
        F: Job<(A,)>,
        I: IntoIterator<Item = A>,
    {
        fn encode_one<F: Job<(A,)>, A>(item: A, out: &mut Buffer<'_>) -> Result<(), CodecError> {
            F::encode_args(&(item,), out)
        }
        let input = items.into_iter();
        let (name, spec, hooks) = match self.target(true) {
            Ok(Target { name, spec, hooks, .. }) => (name, Ok(spec), hooks),
            Err(error) => (Name::default(), Err(error), Hooks::default()),
        };
        let results = Stream::new(name, Decoder::CODEC, hooks, order);
        Imap::new(self.engine, input, encode_one::<F, A>, results, spec)
    }
}

impl<F> std::fmt::Debug for Call<'_, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("job", &std::any::type_name::<F>())
            .field("chunk_size", &self.chunk)
            .finish_non_exhaustive()
    }
}
