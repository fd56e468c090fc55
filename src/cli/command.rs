//! The command from its first word to its exit code.

use std::io::{self, Write};
use std::sync::Arc;

use super::ending::{CliError, Ending};
use super::options::{self, About, Options};
use super::plan::{all_jobs, own_jobs};
use super::say::program;
use super::{help, list, replay, serve, session};

/// Does what the command line says; returns the exit code.
pub(super) fn run() -> Result<u8, CliError> {
    let options = match Options::parse_from_words(std::env::args_os()) {
        Err(text) if !text.use_stderr() => return print(|| text.print()),
        options => options?,
    };
    if let Some(text) = told(&options)? {
        return print(|| io::stdout().write_all(text.as_bytes()));
    }
    if let Some(file) = &options.kept.replay {
        return replay::replay(file, options.exe.as_deref());
    }
    if let Some(name) = &options.shared.serve {
        return serve::serve(&options, name);
    }
    let request = options.request()?;
    let ending = Arc::new(Ending::default());
    match session::run(&options, &request, &ending) {
        Ok(code) => {
            ending.begin();
            ending.terminate();
            Ok(code)
        }
        Err(error) => ending.fail(&error),
    }
}

/// What the command line asks to be told, if that is all that it asks for.
fn told(options: &Options) -> Result<Option<String>, CliError> {
    let About { list, list_names, man, completions, .. } = options.about;
    if let (true, Some(name)) = (options.shared.status, &options.shared.attach) {
        return serve::status(name, options.json).map(Some);
    }
    Ok(match completions {
        Some(shell) => Some(help::completions(&options::command(), program(), shell)?),
        None if man => Some(help::man(&options::command()).map_err(CliError::Output)?),
        None if list && options.json => {
            Some(list::json(&all_jobs(options)?).map_err(|error| CliError::Output(error.into()))?)
        }
        None if list => Some(list::list(&all_jobs(options)?, columns())),
        None if list_names => Some(list::names(&own_jobs())),
        None => None,
    })
}

/// How wide standard output is; `None` where it is no terminal, and a line may be as long as it likes.
fn columns() -> Option<usize> {
    let terminal = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col.into());
    let told = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.or_else(told).filter(|columns| *columns > 0)
}

/// Prints what was asked for, which may fail like any other output.
fn print(print: impl FnOnce() -> io::Result<()>) -> Result<u8, CliError> {
    print().and_then(|()| io::stdout().flush()).map_err(CliError::Output)?;
    Ok(0)
}
