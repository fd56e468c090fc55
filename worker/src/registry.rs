//! Which functions have which names: the table that both processes build alike.

use std::any::{TypeId, type_name};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::OnceLock;

#[cfg(feature = "macros")]
use crate::attribute::JobDef;
use crate::blocks::Buffer;
use crate::job::Job;
use crate::run::Items;
use crate::wire::{ArgInfo, Encoding, Fault, JobInfo};

/// Functions and the names under which a worker finds them.
///
/// Jobs marked with the `#[job]` attribute need none; it is for functions of other crates, and for closures.
///
/// ```
/// # use sidestep_worker as sidestep;
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
/// let double = |x: i64| x * 2;
/// let registry = sidestep::Registry::new().job("add", add).job("double", double);
/// # let _ = registry;
/// ```
#[derive(Debug, Default)]
pub struct Registry {
    entries: Vec<Entry>,
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Registry {
        Registry::default()
    }

    /// Adds a function under a name.
    ///
    /// A closure must not capture anything: the other process could not know what. The compiler refuses one that does,
    /// and a function pointer too: pass the function itself.
    ///
    /// Two jobs of one name end the program with code 125 in [`init`](crate::init). A function may have two names;
    /// a pool calls it by the one that sorts last.
    ///
    /// # Panics
    /// If the name is empty.
    #[track_caller]
    #[must_use]
    pub fn job<F, Args>(mut self, name: impl Into<String>, f: F) -> Registry
    where
        F: Job<Args>,
        Args: 'static,
    {
        const {
            assert!(
                size_of::<F>() == 0,
                "a job is a function itself, or a closure that captures nothing: no function pointer, no captures"
            )
        }
        let name = name.into();
        assert!(!name.is_empty(), "a job needs a name");
        let place = Location::caller();
        self.entries.push(Entry::new(name, &[], "", f, place.file(), place.line()));
        self
    }
}

impl Registry {
    /// Adds what the `#[job]` attribute has found.
    #[cfg(feature = "macros")]
    pub(crate) fn define<F, Args>(mut self, def: &JobDef, f: F) -> Registry
    where
        F: Job<Args>,
        Args: 'static,
    {
        self.entries.push(Entry::new(def.name.into(), def.arg_names, def.doc, f, def.file, def.line));
        self
    }

    /// Adds a function that gives way to another job of its name, with what the `#[job]` attribute would have found.
    #[doc(hidden)]
    #[track_caller]
    #[must_use]
    pub fn fallback<F, Args>(mut self, name: &str, arg_names: &[&str], doc: &str, f: F) -> Registry
    where
        F: Job<Args>,
        Args: 'static,
    {
        let place = Location::caller();
        let entry = Entry::new(name.to_owned(), arg_names, doc, f, place.file(), place.line());
        self.entries.push(Entry { fallback: true, ..entry });
        self
    }
}

/// A job of a [`Registry`] or of the `#[job]` attribute.
pub(crate) struct Entry {
    pub(crate) info: JobInfo,
    /// Its result is a `Result`.
    fallible: bool,
    /// Gives way to another job of its name.
    fallback: bool,
    type_id: TypeId,
    handler: Box<dyn Handler>,
    file: &'static str,
    line: u32,
}

impl Entry {
    fn new<F, Args>(name: String, arg_names: &[&str], doc: &str, f: F, file: &'static str, line: u32) -> Entry
    where
        F: Job<Args>,
        Args: 'static,
    {
        let types = F::arg_types();
        let mut signature = hash(FNV, name.as_bytes());
        for (full, _) in &types {
            signature = hash(signature, full.as_bytes());
        }
        signature = hash(signature, type_name::<F::Output>().as_bytes());
        let mut names = arg_names.iter();
        let args = types
            .into_iter()
            .map(|(_, ty)| ArgInfo { name: names.next().copied().unwrap_or_default().to_owned(), ty })
            .collect();
        let info =
            JobInfo { name, args, output: short_type_name::<F::Output>(), signature, doc: doc.to_owned() };
        Entry {
            info,
            fallible: type_name::<F::Output>().starts_with("core::result::Result<"),
            fallback: false,
            type_id: TypeId::of::<F>(),
            handler: Box::new(Typed(f, PhantomData)),
            file,
            line,
        }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}:{})", self.info.name, self.file, self.line)
    }
}

/// A job whose types are forgotten.
trait Handler: Send + Sync {
    fn serve(&self, encoding: Encoding, args: &[u8], out: &mut Buffer<'_>) -> Result<(), Fault>;
    fn run(&self, items: &mut Items<'_>);
}

struct Typed<F, Args>(F, PhantomData<fn(Args)>);

impl<F: Job<Args>, Args> Handler for Typed<F, Args> {
    fn serve(&self, encoding: Encoding, args: &[u8], out: &mut Buffer<'_>) -> Result<(), Fault> {
        self.0.serve(encoding, args, out)
    }

    fn run(&self, items: &mut Items<'_>) {
        items.each(|encoding, args, out| self.0.serve(encoding, args, out));
    }
}

/// The binary's jobs, sorted by name, so that both processes give them the same numbers.
#[derive(Debug)]
pub struct Table {
    entries: Vec<Entry>,
    by_type: HashMap<TypeId, u32, BuildHasherDefault<Passed>>,
}

/// A type's id is a hash already.
#[derive(Default)]
struct Passed(u64);

impl Hasher for Passed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(self.0, bytes);
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

/// Two jobs of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Duplicate {
    name: String,
    places: [String; 2],
}

impl std::fmt::Display for Duplicate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Duplicate { name, places: [one, two] } = self;
        write!(
            f,
            "two jobs are named \"{name}\": at {one} and at {two}; \
             give one of them another name, as in #[sidestep::job(name = \"…\")]"
        )
    }
}

impl Table {
    pub(crate) fn new(registry: Registry) -> Result<Table, Duplicate> {
        #[cfg(feature = "macros")]
        let registry = crate::attribute::JOBS.iter().fold(registry, |registry, def| (def.add)(def, registry));
        let mut entries = registry.entries;
        let own: HashSet<String> =
            entries.iter().filter(|entry| !entry.fallback).map(|entry| entry.info.name.clone()).collect();
        entries.retain(|entry| !entry.fallback || !own.contains(&entry.info.name));
        entries.sort_by(|a, b| (&a.info.name, a.file, a.line).cmp(&(&b.info.name, b.file, b.line)));
        if let Some([one, two]) = entries.windows(2).find(|pair| pair[0].info.name == pair[1].info.name) {
            let place = |entry: &Entry| format!("{}:{}", entry.file, entry.line);
            return Err(Duplicate { name: one.info.name.clone(), places: [place(one), place(two)] });
        }
        let by_type = entries.iter().enumerate().map(|(at, entry)| (entry.type_id, at as u32)).collect();
        Ok(Table { entries, by_type })
    }

    /// The number of the job that `F` is.
    pub fn number_of<F: 'static>(&self) -> Option<u32> {
        self.by_type.get(&TypeId::of::<F>()).copied()
    }

    /// The number of the job of that name.
    pub fn number_named(&self, name: &str) -> Option<u32> {
        self.entries.binary_search_by(|entry| entry.info.name.as_str().cmp(name)).ok().map(|at| at as u32)
    }

    /// What the jobs look like, in the order of their numbers.
    pub fn infos(&self) -> impl ExactSizeIterator<Item = &JobInfo> {
        self.entries.iter().map(|entry| &entry.info)
    }

    /// A job by its number.
    pub fn info(&self, number: u32) -> Option<&JobInfo> {
        self.entries.get(number as usize).map(|entry| &entry.info)
    }

    /// Whether a job's result is a `Result`.
    pub(crate) fn is_fallible(&self, number: u32) -> bool {
        self.entries.get(number as usize).is_some_and(|entry| entry.fallible)
    }

    /// Runs a job in this process.
    pub(crate) fn serve(
        &self,
        job: u32,
        encoding: Encoding,
        args: &[u8],
        out: &mut Buffer<'_>,
    ) -> Result<(), Fault> {
        match self.entries.get(job as usize) {
            Some(entry) => entry.handler.serve(encoding, args, out),
            None => Err(not_registered(job)),
        }
    }

    /// Runs what was claimed of a run of that job.
    pub(crate) fn run(&self, job: u32, items: &mut Items<'_>) {
        match self.entries.get(job as usize) {
            Some(entry) => entry.handler.run(items),
            None => items.each(|_, _, _| Err(not_registered(job))),
        }
    }
}

fn not_registered(job: u32) -> Fault {
    Fault::NotRegistered(format!("number {job}"))
}

static TABLE: OnceLock<Table> = OnceLock::new();

/// The binary's table, once `init` has been called.
pub fn table() -> Option<&'static Table> {
    TABLE.get()
}

/// Makes the table known; the first call wins.
pub(crate) fn publish(registry: Registry) -> Result<&'static Table, Duplicate> {
    if let Some(table) = TABLE.get() {
        return Ok(table);
    }
    let table = Table::new(registry)?;
    Ok(TABLE.get_or_init(|| table))
}

/// A type's name without module paths: `Option<alloc::string::String>` becomes `Option<String>`.
pub fn short_type_name<T: ?Sized>() -> String {
    let full = type_name::<T>();
    let mut short = String::with_capacity(full.len());
    let mut word = 0;
    for (at, c) in full.char_indices() {
        if c == ':' {
            word = at + 1;
        } else if !(c.is_alphanumeric() || c == '_') {
            short.push_str(&full[word..at]);
            short.push(c);
            word = at + c.len_utf8();
        }
    }
    short.push_str(&full[word..]);
    short
}

const FNV: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, with a mark after each piece, so that ("ab", "c") and ("a", "bc") differ.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    step(bytes.iter().fold(seed, step), &0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(a: i64, b: i64) -> i64 {
        a + b
    }

    #[test]
    fn a_job_is_found_by_its_type_and_by_its_name() {
        let double = |x: i64| x * 2;
        let table = Table::new(Registry::new().job("sum", add).job("double", double)).unwrap();
        assert_eq!(table.number_named("double"), Some(0));
        assert_eq!(table.number_of::<fn(i64)>(), None);
        fn number_of_val<F: 'static>(table: &Table, _: F) -> Option<u32> {
            table.number_of::<F>()
        }
        assert_eq!(number_of_val(&table, add), Some(1));
        assert_eq!(number_of_val(&table, double), Some(0));
        assert_eq!(number_of_val(&table, add as fn(i64, i64) -> i64), None);
    }

    #[test]
    fn two_jobs_of_one_name_are_refused_with_both_places() {
        let registry = Registry::new().job("same", add).job("same", |x: u8| x);
        let error = Table::new(registry).unwrap_err().to_string();
        assert!(error.matches("registry.rs:").count() == 2 && error.contains("\"same\""), "{error}");
    }

    #[test]
    fn a_fallback_gives_way() {
        let registry = Registry::new().fallback("add", &["a"], "", |x: u8| x).job("add", add);
        assert_eq!(
            Table::new(registry).unwrap().infos().map(|info| info.args.len()).collect::<Vec<_>>(),
            [2]
        );
    }

    #[test]
    fn type_names_lose_their_paths() {
        assert_eq!(short_type_name::<Option<Vec<String>>>(), "Option<Vec<String>>");
        assert_eq!(short_type_name::<(u8, [std::time::Duration; 3])>(), "(u8, [Duration; 3])");
        assert_eq!(short_type_name::<()>(), "()");
    }

    #[test]
    fn signatures_tell_jobs_apart() {
        let infos = |registry| Table::new(registry).unwrap().infos().next().unwrap().signature;
        let one = infos(Registry::new().job("f", |a: u8, b: u16| (a, b)));
        assert_eq!(one, infos(Registry::new().job("f", |a: u8, b: u16| (a, b))));
        assert_ne!(one, infos(Registry::new().job("f", |a: u16, b: u8| (b, a))));
        assert_ne!(one, infos(Registry::new().job("g", |a: u8, b: u16| (a, b))));
    }
}
