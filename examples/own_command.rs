//! The whole command `pool-run` with jobs of your own beside the built-in ones. Try
//!
//! ```sh
//! cargo run --example own_command -- --list
//! cargo run --example own_command -- gcd 12 ::: 18 20 35
//! seq 1 9 | cargo run --example own_command -- --workers 3 collatz
//! ```

/// The greatest common divisor of two numbers.
#[sidestep::job]
fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// How many steps a number takes to get to 1.
#[sidestep::job]
fn collatz(n: u64) -> Result<u32, String> {
    let next = |n: &u64| match n {
        0 | 1 => None,
        n if n % 2 == 0 => Some(n / 2),
        n => n.checked_mul(3)?.checked_add(1),
    };
    match std::iter::successors(Some(n), next).fold((0, 0), |(steps, _), last| (steps + 1, last)) {
        (steps, 1) => Ok(steps - 1),
        (_, last) => Err(format!("{n} does not get to 1: it ends at {last}")),
    }
}

fn main() -> std::process::ExitCode {
    sidestep::cli::main()
}
