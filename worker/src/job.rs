//! What a job is: a function without captures whose arguments and result can travel.

use std::any::type_name;

use serde::{Serialize, de::DeserializeOwned};

use crate::blocks::Buffer;
use crate::codec::{self, CodecError};
use crate::registry::short_type_name;
use crate::wire::{Encoding, Fault};

/// A function that a pool can run in another process.
///
/// Every function (or closure without captures) of 0 to 8 owned arguments is one, when its arguments can be
/// serialised and deserialised with serde and its result can too. `Args` is the tuple of its arguments. To be found
/// in the other process it must also be registered, with the `#[job]` attribute or in a
/// [`Registry`](crate::Registry).
///
/// You never implement it yourself.
///
/// ```
/// # use sidestep_worker as sidestep;
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// fn call<F: sidestep::Job<(i64, i64)>>(f: F) -> F::Output {
///     f.call((2, 3))
/// }
/// # let _ = call(add);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no job that takes `{Args}`",
    label = "not a function of these arguments that can run in another process",
    note = "a job is a function, or a closure without captures, of 0 to 8 owned arguments that implement serde's Serialize and Deserialize",
    note = "its result must implement them too, and be Send and 'static"
)]
pub trait Job<Args>: Copy + Send + Sync + 'static {
    /// What it returns.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Calls it here, in this process.
    fn call(self, args: Args) -> Self::Output;

    /// Appends the arguments in [`Encoding::Binary`].
    #[doc(hidden)]
    fn encode_args(args: &Args, out: &mut Buffer<'_>) -> Result<(), CodecError>;

    /// Reads the arguments, calls the function and appends its result.
    #[doc(hidden)]
    fn serve(self, encoding: Encoding, args: &[u8], out: &mut Buffer<'_>) -> Result<(), Fault>;

    /// The arguments' types: full paths, and short ones.
    #[doc(hidden)]
    fn arg_types() -> Vec<(&'static str, String)>;
}

/// A tuple of 0 to 8 arguments, for jobs that are called by name.
///
/// You never implement it yourself.
pub trait Arguments: Serialize {
    /// The arguments' types, without module paths.
    #[doc(hidden)]
    fn types() -> Vec<String>;
}

macro_rules! job_for {
    ($($arg:ident),*) => {
        impl<$($arg: Serialize),*> Arguments for ($($arg,)*) {
            fn types() -> Vec<String> {
                vec![$(short_type_name::<$arg>()),*]
            }
        }

        impl<F, R, $($arg),*> Job<($($arg,)*)> for F
        where
            F: Fn($($arg),*) -> R + Copy + Send + Sync + 'static,
            R: Serialize + DeserializeOwned + Send + 'static,
            $($arg: Serialize + DeserializeOwned,)*
        {
            type Output = R;

            #[allow(non_snake_case, reason = "the type parameters' names serve as the values' names")]
            #[inline]
            fn call(self, ($($arg,)*): ($($arg,)*)) -> R {
                self($($arg),*)
            }

            fn encode_args(args: &($($arg,)*), out: &mut Buffer<'_>) -> Result<(), CodecError> {
                codec::encode_into(args, out)
            }

            fn serve(self, encoding: Encoding, args: &[u8], out: &mut Buffer<'_>) -> Result<(), Fault> {
                serve::<_, ($($arg,)*)>(self, encoding, args, out)
            }

            fn arg_types() -> Vec<(&'static str, String)> {
                vec![$((type_name::<$arg>(), short_type_name::<$arg>())),*]
            }
        }
    };
}

job_for!();
job_for!(A);
job_for!(A, B);
job_for!(A, B, C);
job_for!(A, B, C, D);
job_for!(A, B, C, D, E);
job_for!(A, B, C, D, E, G);
job_for!(A, B, C, D, E, G, H);
job_for!(A, B, C, D, E, G, H, I);

fn serve<F, Args>(f: F, encoding: Encoding, args: &[u8], out: &mut Buffer<'_>) -> Result<(), Fault>
where
    F: Job<Args>,
    Args: DeserializeOwned,
{
    match encoding {
        Encoding::Binary => {
            let args = codec::decode(args).map_err(|error| Fault::Decode(error.to_string()))?;
            codec::encode_into(&f.call(args), out).map_err(result_fault)
        }
        #[cfg(feature = "json")]
        Encoding::Json => crate::text::serve_json(f, args, out.bytes),
        #[cfg(feature = "json")]
        Encoding::Text => crate::text::serve_text(f, args, out.bytes),
        #[cfg(not(feature = "json"))]
        _ => Err(Fault::Decode("this program was built without sidestep's feature `json`".into())),
    }
}

/// Why a result could not be sent.
pub(crate) fn result_fault(error: CodecError) -> Fault {
    match error {
        CodecError::TooLarge { size } => Fault::TooLarge(size as u64),
        CodecError::Invalid(what) => Fault::Encode(what),
    }
}
