//! Which job is meant.

use std::path::{Path, PathBuf};

use sidestep_worker::wire::JobInfo;

use super::builtin;
use super::say::program;

/// There is no job of that name.
#[derive(Debug)]
pub(super) struct UnknownJob {
    name: String,
    program: Option<PathBuf>,
    suggestion: Option<String>,
    count: usize,
    has_exec: bool,
}

/// Finds a job by its name.
pub(super) fn find(infos: &[JobInfo], name: &str, program: Option<&Path>) -> Result<JobInfo, UnknownJob> {
    if let Some(info) = infos.iter().find(|info| info.name == name) {
        return Ok(info.clone());
    }
    Err(UnknownJob {
        name: name.to_owned(),
        program: program.map(Path::to_owned),
        suggestion: closest(infos, name),
        count: infos.len(),
        has_exec: infos.iter().any(|info| builtin::EXEC.is(info)),
    })
}

/// The job that was probably meant: the nearest name, if it is near.
fn closest(infos: &[JobInfo], name: &str) -> Option<String> {
    let name = name.to_lowercase();
    let distances =
        infos.iter().map(|info| (strsim::damerau_levenshtein(&info.name.to_lowercase(), &name), info));
    let (distance, info) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= name.chars().count().div_ceil(3)).then(|| info.name.clone())
}

impl std::fmt::Display for UnknownJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let UnknownJob { name, program: path, suggestion, count, has_exec } = self;
        write!(f, "no job named \"{}\"", name.escape_debug())?;
        if let Some(path) = path {
            write!(f, " in {}", path.display())?;
        }
        match suggestion {
            Some(suggestion) => write!(f, " (did you mean \"{suggestion}\"? ")?,
            None if *has_exec => write!(f, " (for a program: {} exec {}; ", program(), name.escape_debug())?,
            None => write!(f, " (")?,
        }
        match count {
            0 => write!(f, "it has none)"),
            count => write!(f, "--list shows all {count})"),
        }
    }
}

impl std::error::Error for UnknownJob {}

#[cfg(test)]
mod tests {
    use super::*;

    fn infos(names: &[&str]) -> Vec<JobInfo> {
        let info = |name: &&str| JobInfo {
            name: (*name).into(),
            args: Vec::new(),
            output: "()".into(),
            signature: 0,
            doc: String::new(),
        };
        names.iter().map(info).collect()
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let infos = infos(&["sha256", "thumb", "wc"]);
        let text = |name| find(&infos, name, None).unwrap_err().to_string();
        assert_eq!(text("thmub"), "no job named \"thmub\" (did you mean \"thumb\"? --list shows all 3)");
        assert!(text("SHA256").contains("\"sha256\""));
        assert!(text("sha1").contains("\"sha256\"") || text("sha1").contains("(--list"));
        assert_eq!(text("gzip"), "no job named \"gzip\" (--list shows all 3)");
        assert_eq!(find(&infos, "wc", None).unwrap().name, "wc");
        let other = find(&[], "x", Some(Path::new("./app"))).unwrap_err().to_string();
        assert_eq!(other, "no job named \"x\" in ./app (it has none)");
    }
}
