//! The `#[job]` attribute of [sidestep](https://docs.rs/sidestep), which shows and documents it.
//!
//! The attribute leaves the function as it is and puts an entry beside it into a list that the linker
//! collects. So a function needs to be named in one place only, and a worker copy finds it without being
//! told.
//!
//! `signature` decides what can be a job and says what to do about the rest; `expand` writes the entry.

mod expand;
mod options;
mod signature;

use proc_macro::TokenStream;

/// Makes a function a job, so that a pool can run it in another process.
///
/// ```
/// /// Adds two numbers.
/// #[sidestep::job]
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// #[sidestep::job(name = "thumbnail")]
/// fn resize(path: std::path::PathBuf, width: u32) -> Result<u64, sidestep::Failure> {
///     let size = std::fs::metadata(&path)?.len();
///     Ok(size.min(width.into()))
/// }
///
/// sidestep::init();
/// assert_eq!(add(2, 3), 5); // it is still an ordinary function
/// ```
///
/// It goes on a free function, at any place in the program, of 0 to 8 owned arguments. They and the result
/// implement serde's `Serialize` and `Deserialize`, and the result is `Send` and `'static`. A method, a
/// generic or async function and a borrowed argument are refused by the compiler; a generic function can be
/// registered with its types fixed, as in `Registry::new().job("f_u8", f::<u8>)`.
///
/// The job's name is the function's; `name = "…"` gives it another one. The names of all jobs of a program
/// differ, also those in different modules; else `sidestep::init` names both places and ends the program. The
/// first paragraph of the doc comment is what `pool-run --list` shows.
///
/// A job in a library is there only if the program uses something of that library's crate: else the linker
/// leaves the whole crate out.
#[proc_macro_attribute]
pub fn job(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::job(options.into(), item.into()).into()
}
