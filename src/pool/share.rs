//! Values for all workers.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sidestep_worker::Shared;
use sidestep_worker::blocks::Buffer;
use sidestep_worker::codec;
use sidestep_worker::shared::collect;

use crate::error::{JobError, Place};

use super::Pool;
use super::submit::guarded;

impl Pool {
    /// Shares a value with all workers, those too that start later: it is encoded once, now, and each worker that needs
    /// it decodes it once. Large [`Bytes`](crate::Bytes) in it are not copied, but lie in memory that all workers see.
    ///
    /// Jobs take it as an argument of type [`Shared<T>`](Shared), which stands for a `&T`. Workers keep it as long as the
    /// caller has a clone of it, or any job that has one of them among its arguments is not done.
    ///
    /// ```no_run
    /// use sidestep::{Pool, Shared};
    ///
    /// #[sidestep::job]
    /// fn length(words: Shared<Vec<String>>, at: usize) -> usize {
    ///     words[at].len()
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     sidestep::init();
    ///     let pool = Pool::new(4)?;
    ///     let words = pool.share(vec!["many".to_owned(), "words".to_owned()])?;
    ///     let lengths = pool.starmap(length, (0..2).map(|at| (words.clone(), at)))?;
    ///     assert_eq!(lengths, [4, 5]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Encode`](JobError::Encode) or [`TooLarge`](JobError::TooLarge) if it cannot be encoded; their `job` names the
    /// type. What cannot be decoded in a worker is the [`Decode`](JobError::Decode) of the jobs that take it.
    pub fn share<T>(&self, value: T) -> Result<Shared<T>, JobError>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let mut bytes = Vec::new();
        let mut buffer = Buffer::new(&mut bytes, self.engine.blocks());
        let encode = || guarded(&mut buffer, |out| codec::encode_into(&value, out));
        let place = || Place { job: std::any::type_name::<T>().to_owned(), id: 0, pid: None };
        let inner = collect(self.engine.number(), encode).map_err(|error| place().encode(error))?;
        let block = buffer.finish(0);
        Ok(Shared::new(value, self.engine.share(bytes, block, inner)))
    }
}
