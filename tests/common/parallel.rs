//! GNU parallel, for those tests that compare with it.

use std::path::Path;
use std::process::{Command, Stdio};

/// GNU parallel, if it is here. Where `SIDESTEP_NEEDS_PARALLEL` is set it has to be.
pub(crate) fn parallel() -> Option<&'static Path> {
    let path = Path::new("parallel");
    let found = Command::new(path).args(["--will-cite", "--version"]).stdin(Stdio::null()).output();
    let is_gnu = found.is_ok_and(|output| output.stdout.starts_with(b"GNU parallel"));
    if !is_gnu {
        assert!(std::env::var_os("SIDESTEP_NEEDS_PARALLEL").is_none(), "GNU parallel is not installed");
        eprintln!("SKIPPED: nothing is compared with GNU parallel, which is not installed");
    }
    is_gnu.then_some(path)
}
