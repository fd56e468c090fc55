//! Jobs called by name: for another program's jobs, and for the command.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use sidestep_worker::Arguments;
use sidestep_worker::codec;
use sidestep_worker::registry::short_type_name;
use sidestep_worker::wire::{Encoding, JobInfo};

use crate::engine::scheduler::TaskSpec;
use crate::error::{JobError, Place};

use super::decode::decode;
use super::handle::{Cell, Which};
use super::hook::Hooks;
use super::submit::submit;
use super::{JobHandle, Name, Pool};

impl Pool {
    /// Calls a job by its name and waits: for jobs of [another program](crate::Builder::program), whose functions
    /// this one does not have.
    ///
    /// `args` is the tuple of its arguments. The types are compared by name before anything is sent, and nothing is
    /// widened: a job that takes `i64` takes no `i32`.
    ///
    /// # Errors
    /// [`JobError::NotRegistered`] if the workers' program has no such job, [`JobError::Decode`] with the types of both
    /// sides if they differ, and all that [`apply`](Self::apply) gives.
    ///
    /// ```no_run
    /// let pool = sidestep::Pool::builder().workers(2).program("target/release/calculator").build()?;
    /// let sum: i64 = pool.apply_by_name("add", &(2i64, 3i64))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply_by_name<R>(&self, name: &str, args: &impl Arguments) -> Result<R, JobError>
    where
        R: DeserializeOwned + Send + 'static,
    {
        self.start_by_name(name, args).get()
    }

    /// [`apply_by_name`](Self::apply_by_name) without the wait.
    pub fn apply_async_by_name<R>(&self, name: &str, args: &impl Arguments) -> JobHandle<R>
    where
        R: DeserializeOwned + Send + 'static,
    {
        let handle = self.start_by_name(name, args);
        self.engine.rouse();
        handle
    }

    fn start_by_name<A: Arguments, R>(&self, name: &str, args: &A) -> JobHandle<R>
    where
        R: DeserializeOwned + Send + 'static,
    {
        let which = Which::Named(Name::Owned(name.to_owned()));
        let cell = Cell::new(which, decode::<R>, Hooks::default());
        let found = self.find(name).and_then(|(job, info)| compare::<A, R>(&info).map(|()| job));
        match found {
            Ok(job) => {
                let spec = TaskSpec {
                    job,
                    encoding: Encoding::Binary,
                    chunk: None,
                    lazy: false,
                    terms: self.engine.config.terms,
                };
                submit(&self.engine, cell, spec, |out| codec::encode_into(args, out))
            }
            Err(error) => {
                cell.refuse(0, error);
                JobHandle { cell: Arc::new(cell), engine: Arc::downgrade(&self.engine) }
            }
        }
    }

    /// The names of the jobs that the workers' program has, sorted.
    pub fn job_names(&self) -> Vec<String> {
        self.job_infos().into_iter().map(|info| info.name).collect()
    }

    /// The jobs that the workers' program has, by their numbers.
    pub(crate) fn job_infos(&self) -> Vec<JobInfo> {
        self.engine.table().map(|table| table.jobs.clone()).unwrap_or_default()
    }

    pub(super) fn find(&self, name: &str) -> Result<(u32, JobInfo), JobError> {
        let table = self.engine.table();
        let found = table.as_ref().and_then(|table| {
            let number = table.number(name)?;
            Some((number, table.jobs[number as usize].clone()))
        });
        found.ok_or_else(|| JobError::NotRegistered { name: format!("\"{name}\"") })
    }
}

/// Types are compared by name: what a caller has and what the job has.
fn compare<A: Arguments, R>(info: &JobInfo) -> Result<(), JobError> {
    let theirs: Vec<_> = info.args.iter().map(|arg| arg.ty.clone()).collect();
    let ours = A::types();
    let output = short_type_name::<R>();
    if ours == theirs && output == info.output {
        return Ok(());
    }
    let show = |args: &[String], output: &str| format!("({}) -> {output}", args.join(", "));
    let message = format!(
        "the call is {}, the job is {}; nothing was sent",
        show(&ours, &output),
        show(&theirs, &info.output)
    );
    Err(Place { job: info.name.clone(), id: 0, pid: None }.decode(message))
}
