//! Handles are futures: here tokio awaits them. Any other executor can do so too, the pool needs none of its own.

use sidestep::{JobError, Pool};

#[sidestep::job]
fn primes_below(n: u32) -> usize {
    (2..n).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0)).count()
}

#[sidestep::job]
fn divide(a: i64, b: i64) -> i64 {
    a / b
}

// Not `#[tokio::main]`: a worker copy has to get to `init` before anything starts a runtime.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    sidestep::init();
    let pool = Pool::new(2)?;
    tokio::runtime::Builder::new_current_thread().build()?.block_on(talk(&pool))?;
    pool.close();
    pool.join()?;
    Ok(())
}

async fn talk(pool: &Pool) -> Result<(), JobError> {
    // Two at a time.
    let (few, many) =
        tokio::join!(pool.apply_async(primes_below, (100,)), pool.apply_async(primes_below, (10_000,)));
    println!("primes below 100: {}, below 10000: {}", few?, many?);

    // A handle in a task of its own: the task is woken when the result is there.
    let handle = pool.apply_async(divide, (84, 2));
    let task = tokio::spawn(async move { handle.await.map(|answer| answer + 1) });
    println!("in a task: {}", task.await.expect("the task does not panic")?);

    // All results of a map.
    println!("a map: {:?}", pool.map_async(primes_below, [10, 20, 30]).await?);

    // What a job does wrong is an error here, with its place.
    match pool.apply_async(divide, (1, 0)).await {
        Err(JobError::Panicked { message, location, .. }) => println!("a panic: {message}, at {location}"),
        other => println!("divide(1, 0) gave {other:?}"),
    }
    Ok(())
}
