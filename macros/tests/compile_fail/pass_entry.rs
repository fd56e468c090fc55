//! A test binary's entry, in a crate that allows no unsafe code.
#![forbid(unsafe_code)]
#![deny(missing_docs, warnings)]

#[sidestep::job]
fn job() {}

sidestep::worker_entry!(|| sidestep::Registry::new().job("double", |x: u8| x * 2));

fn main() {
    job();
}
