//! `pool-run`: see [`sidestep::cli`].

fn main() -> std::process::ExitCode {
    sidestep::cli::main()
}
