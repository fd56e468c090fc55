//! The six calls that a newcomer knows from Python's `multiprocessing.Pool`.

use sidestep::Pool;

#[sidestep::job]
fn hello(name: String) -> String {
    format!("Hello: {name}")
}

#[sidestep::job]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    sidestep::init(); // a worker copy serves jobs here and never returns
    let pool = Pool::new(4)?;
    let names = || (1..=3).map(|n| format!("john_wick_{n}"));

    // apply: run one job and wait for it.
    println!("apply:           {}", pool.apply(hello, ("john_wick_0".to_owned(),))?);

    // apply_async: submit one job, do something else, then ask for the result.
    let handle = pool.apply_async(hello, ("john_wick_1".to_owned(),));
    println!("apply_async:     {}", handle.get()?);

    // apply_async with a callback, which gets the result on a thread of the pool's own.
    let handle = pool
        .call(hello)
        .on_success(|greeting: &String| println!("in the callback: {greeting}"))
        .apply_async(("john_wick_2".to_owned(),));
    handle.get()?;

    // map: one job for each item, all results in order.
    println!("map:             {:?}", pool.map(hello, names())?);

    // starmap: each item is a tuple of arguments.
    println!("starmap:         {:?}", pool.starmap(add, [(1, 2), (3, 4)])?);

    // imap: results as they come, in order; the input is pulled as you go and may be endless.
    for greeting in pool.imap(hello, names()) {
        println!("imap:            {}", greeting?);
    }

    pool.close();
    pool.join()?;
    Ok(())
}
