//! One job among a hundred good ones writes where it must not. It alone pays for that.

use sidestep::{Cause, JobError, Pool};

#[sidestep::job]
fn root(n: u64) -> f64 {
    if n == 50 {
        // A pointer from a faulty C library, say. The compiler cannot see that it leads nowhere.
        let nowhere = std::ptr::without_provenance_mut::<u64>(std::hint::black_box(8));
        // SAFETY: none. This is the crash.
        unsafe { nowhere.write_volatile(n) };
    }
    (n as f64).sqrt()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    sidestep::init();
    let pool = Pool::new(4)?;

    let mut good = 0;
    for (n, result) in pool.imap(root, 0..=100).enumerate() {
        match result {
            Ok(_) => good += 1,
            Err(JobError::WorkerLost { pid: Some(pid), cause: Cause::Signal(signal), .. }) => {
                println!("root({n}) is lost: signal {signal} has ended its process {pid}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    println!("{good} others have their result");

    let restarts = pool.stats().restarts;
    println!("workers replaced: {restarts}; root(81) = {}", pool.apply(root, (81,))?);
    Ok(())
}
