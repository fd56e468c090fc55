//! What the `#[job]` attribute leaves in a binary, and what its expansion calls.
//!
//! Nothing here is for use by hand.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use crate::job::Job;
use crate::registry::Registry;

/// One job, as the attribute found it.
#[derive(Debug)]
pub struct JobDef {
    /// The function's name, or the one that was given.
    pub name: &'static str,
    /// The arguments' names; empty where a pattern stands.
    pub arg_names: &'static [&'static str],
    /// The first paragraph of the doc comment.
    pub doc: &'static str,
    /// Where the function stands.
    pub file: &'static str,
    /// Where the function stands.
    pub line: u32,
    /// Adds the function to a registry under the data of this definition.
    pub add: fn(&JobDef, Registry) -> Registry,
}

/// Every `#[job]` of the binary.
#[linkme::distributed_slice]
pub static JOBS: [JobDef];

/// Stands where an argument's type does, so that the compiler points at a type that cannot travel.
pub fn argument<T: Serialize + DeserializeOwned>() {}

/// The same for the result's type.
pub fn result<T: Serialize + DeserializeOwned + Send + 'static>() {}

/// The types of one job.
///
/// The one method of [`Fit`] and [`Unfit`] has a name of its own, so that no other trait that a user has in
/// scope gets in its way.
#[derive(Debug)]
pub struct Types<Args, R>(PhantomData<fn(Args) -> R>);

impl<Args, R> Types<Args, R> {
    /// Whatever they are.
    #[expect(clippy::new_without_default, reason = "only the attribute's expansion makes one")]
    pub fn new() -> Types<Args, R> {
        Types(PhantomData)
    }
}

/// Types that can travel: `add_sidestep_job` does so.
pub trait Fit<Args> {
    /// Adds the function to a registry.
    fn add_sidestep_job<F: Job<Args>>(self, def: &JobDef, registry: Registry, f: F) -> Registry;
}

impl<Args, R> Fit<Args> for Types<Args, R>
where
    Args: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    fn add_sidestep_job<F: Job<Args>>(self, def: &JobDef, registry: Registry, f: F) -> Registry {
        registry.define(def, f)
    }
}

/// All others: [`argument`] and [`result`] say what is wrong with them, and nothing is to be added to that.
///
/// The compiler takes a method of `Types` before one of `&Types`, so that this is the second choice.
pub trait Unfit {
    /// Is never called.
    fn add_sidestep_job<F>(self, def: &JobDef, registry: Registry, f: F) -> Registry;
}

impl<Args, R> Unfit for &Types<Args, R> {
    fn add_sidestep_job<F>(self, _: &JobDef, registry: Registry, _: F) -> Registry {
        registry
    }
}
