//! A ready-made error type for jobs.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

/// An error that can travel between processes: made by `?` from any error, it keeps the chain of causes as text.
///
/// It is to jobs what `Box<dyn Error>` is to functions. In the caller it turns into `Box<dyn Error>` and
/// `Box<dyn Error + Send + Sync>` by `?`. As with `anyhow::Error`, it is itself no `std::error::Error`: else it could
/// not be made from every one.
///
/// ```
/// # use sidestep_worker as sidestep;
/// use sidestep::Failure;
///
/// fn count(path: String) -> Result<usize, Failure> {
///     let text = std::fs::read_to_string(&path).map_err(|error| Failure::new(format!("{path}: {error}")))?;
///     let wanted: usize = text.trim().parse()?;
///     Ok(wanted)
/// }
/// assert!(count("/nowhere".into()).unwrap_err().to_string().starts_with("/nowhere: "));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    message: String,
    causes: Vec<String>,
}

impl Failure {
    /// One without causes, from anything that can be shown.
    pub fn new(message: impl fmt::Display) -> Failure {
        Failure { message: message.to_string(), causes: Vec::new() }
    }

    /// What went wrong, then its causes, outermost first.
    pub fn chain(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.message.as_str()).chain(self.causes.iter().map(String::as_str))
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        Failure { message: error.to_string(), causes }
    }
}

/// Shows the message; `{:#}` shows the causes behind it too.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if f.alternate() {
            self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))?;
        }
        Ok(())
    }
}

/// Shows the message and each cause on a line, which is what `main` prints when it returns one.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, "\n  caused by: {cause}"))
    }
}

/// The error that a [`Failure`] becomes on its way into a `Box<dyn Error>`.
#[derive(Debug)]
struct Link {
    message: String,
    cause: Option<Box<Link>>,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Link {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &dyn Error)
    }
}

impl From<Failure> for Link {
    fn from(failure: Failure) -> Link {
        let cause = failure
            .causes
            .into_iter()
            .rev()
            .fold(None, |cause, message| Some(Box::new(Link { message, cause })));
        Link { message: failure.message, cause }
    }
}

impl From<Failure> for Box<dyn Error + Send + Sync> {
    fn from(failure: Failure) -> Self {
        Box::new(Link::from(failure))
    }
}

impl From<Failure> for Box<dyn Error> {
    fn from(failure: Failure) -> Self {
        Box::new(Link::from(failure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_of_causes_survives_both_ways() {
        let link = Link {
            message: "inner".into(),
            cause: Some(Box::new(Link { message: "root".into(), cause: None })),
        };
        let failure = Failure::from(Link { message: "outer".into(), cause: Some(Box::new(link)) });
        assert_eq!(failure.chain().collect::<Vec<_>>(), ["outer", "inner", "root"]);
        assert_eq!(format!("{failure} | {failure:#}"), "outer | outer: inner: root");
        let boxed: Box<dyn Error> = failure.clone().into();
        assert_eq!(Failure { message: boxed.to_string(), ..Failure::new("") }.message, "outer");
        assert_eq!(boxed.source().unwrap().source().unwrap().to_string(), "root");
        fn sends() -> Result<(), Box<dyn Error + Send + Sync>> {
            Err(Failure::new("sent"))?
        }
        assert_eq!(sends().unwrap_err().to_string(), "sent");
    }
}
