//! The jobs that the command brings along, so that it is of use before anyone has written one.
//!
//! They live in the command's own registry and not in the library's, and give way to a user's job of the same name.
//! Each is an ordinary job: it takes and returns values, and knows nothing of standard output, which belongs to the
//! parent. A failure is a `String`, because a person reads it.

mod command;
mod guardian;
mod locale;
mod piece;
mod primes;
mod program;
mod quote;
mod running;
mod sha256;
mod text;
mod wc;

use std::cell::Cell;

use sidestep_worker::Registry;
use sidestep_worker::wire::JobInfo;

pub(crate) use command::{command, environment};
pub(crate) use piece::{Piece, Stream};
pub(crate) use program::{Finished, Outputs, Program, Word};
pub(crate) use text::Text;

/// Files are read in pieces of this size: enough that system calls cost nothing beside the work.
const BLOCK: usize = 64 * 1024;

/// Lends a block, which is made once: to clear it takes longer than a small file does.
fn with_block<R>(read: impl FnOnce(&mut [u8]) -> R) -> R {
    thread_local!(static LENT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });
    let mut block = LENT.take();
    block.resize(BLOCK, 0);
    let result = read(&mut block);
    LENT.set(block);
    result
}

/// What the registry and `--list` know of a built-in.
pub(crate) struct BuiltIn {
    pub(crate) name: &'static str,
    args: &'static [(&'static str, &'static str)],
    output: &'static str,
    doc: &'static str,
    /// How it is called, where that is not "once for each input, with the input".
    pub(crate) usage: Option<&'static str>,
}

const SHA256: BuiltIn = BuiltIn {
    name: "sha256",
    args: &[("path", "Bytes")],
    output: "Result<Text, String>",
    doc: "SHA-256 of a file, as sha256sum prints it",
    usage: None,
};

const WC: BuiltIn = BuiltIn {
    name: "wc",
    args: &[("path", "Bytes")],
    output: "Result<Text, String>",
    doc: "Lines, words and bytes of a file, as `wc FILE` prints them for that file alone",
    usage: None,
};

const PRIMES: BuiltIn = BuiltIn {
    name: "primes",
    args: &[("n", "u64")],
    output: "u64",
    doc: "How many primes there are below n",
    usage: None,
};

pub(crate) const EXEC: BuiltIn = BuiltIn {
    name: "exec",
    args: &[("program", "Program")],
    output: "Result<Finished, String>",
    doc: "Runs a program for each input, without a shell; {} is the input, else it is the last argument",
    usage: Some("exec CMD [ARG]..."),
};

pub(crate) const SH: BuiltIn = BuiltIn {
    name: "sh",
    args: &[("program", "Program")],
    output: "Result<Finished, String>",
    doc: "Runs a line of shell for each input; {} is the input, quoted, else it is appended",
    usage: Some("sh 'LINE'"),
};

/// All of them.
pub(crate) const ALL: [&BuiltIn; 5] = [&EXEC, &PRIMES, &SH, &SHA256, &WC];

/// Adds them to a registry, each giving way to another job of its name.
pub(crate) fn add_to(registry: Registry) -> Registry {
    let registry = registry
        .fallback(SHA256.name, &SHA256.arg_names(), SHA256.doc, sha256::sha256)
        .fallback(WC.name, &WC.arg_names(), WC.doc, wc::wc)
        .fallback(PRIMES.name, &PRIMES.arg_names(), PRIMES.doc, primes::primes);
    registry.fallback(EXEC.name, &EXEC.arg_names(), EXEC.doc, command::exec).fallback(
        SH.name,
        &SH.arg_names(),
        SH.doc,
        command::sh,
    )
}

impl BuiltIn {
    fn arg_names(&self) -> Vec<&'static str> {
        self.args.iter().map(|(name, _)| *name).collect()
    }

    /// Whether a program's job is this one, and not just another of its name.
    pub(crate) fn is(&self, info: &JobInfo) -> bool {
        let args = info.args.iter().map(|arg| (arg.name.as_str(), arg.ty.as_str()));
        info.name == self.name
            && info.output == self.output
            && info.doc == self.doc
            && args.eq(self.args.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidestep_worker::registry::table;

    #[test]
    fn the_descriptions_are_those_of_the_functions() {
        sidestep_worker::init_with(add_to(Registry::new()));
        let table = table().expect("init was called");
        for built_in in ALL {
            let number = table.number_named(built_in.name).expect(built_in.name);
            let info = table.info(number).expect("it has just been found");
            assert!(built_in.is(info), "{info:?}");
        }
    }
}
