//! The file: a template, what goes into it, and how it gets where it belongs.
//!
//! Inputs and outputs of jobs are anybody's. They get into the page as data only: JSON in which nothing can end the element
//! that it stands in, which the page's script shows as text. Beyond that the page allows no script but its own, by its
//! hash, and nothing from elsewhere.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::engine::general_purpose::STANDARD;
use base64::prelude::*;
use base64::write::EncoderWriter;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::timeline::Timeline;

/// Names in double braces stand for what [`write_page`] puts there.
const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// One script, whose parts see each other and nobody else sees them.
const SCRIPT: &str = concat!(
    "'use strict';\n{\n",
    include_str!("script/words.js"),
    include_str!("script/attempts.js"),
    include_str!("script/figures.js"),
    include_str!("script/lanes.js"),
    include_str!("script/timeline.js"),
    include_str!("script/times.js"),
    include_str!("script/tables.js"),
    "}\n"
);

/// Whether a page can be written there: better said before the run than after it.
pub(super) fn check(path: &Path) -> io::Result<()> {
    match Target::of(path)? {
        Target::Replaced(path) => new_file(&path).map(drop),
        Target::Written(path) => File::options().write(true).open(path).map(drop),
    }
}

/// Writes the page.
pub(super) fn write(
    path: &Path,
    command: &str,
    head: &impl Serialize,
    timeline: &mut Timeline,
) -> io::Result<()> {
    match Target::of(path)? {
        Target::Replaced(path) => {
            let mut file = BufWriter::new(new_file(&path)?);
            write_page(command, head, timeline, &mut file)?;
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.persist(path).map(drop).map_err(|error| error.error)
        }
        Target::Written(path) => {
            let mut file = BufWriter::new(File::options().write(true).open(path)?);
            write_page(command, head, timeline, &mut file)?;
            file.flush()
        }
    }
}

/// What becomes of what has the page's name already.
enum Target {
    /// A new file takes its place.
    Replaced(PathBuf),
    /// It is no file, but a pipe or a device: it is written to.
    Written(PathBuf),
}

impl Target {
    fn of(path: &Path) -> io::Result<Target> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            // Where a link leads to is replaced, not the link.
            Ok(found) if found.is_file() => path.canonicalize().map(Target::Replaced),
            Ok(_) => Ok(Target::Written(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Target::Replaced(path.to_owned())),
            Err(error) => Err(error),
        }
    }
}

/// A file beside `path`, which vanishes unless it is given that name.
fn new_file(path: &Path) -> io::Result<NamedTempFile> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // As any new file: what others may do with it the umask says.
    let mut builder = tempfile::Builder::new();
    builder.prefix(".report-").permissions(Permissions::from_mode(0o666)).tempfile_in(folder)
}

fn write_page(
    command: &str,
    head: &impl Serialize,
    timeline: &mut Timeline,
    out: &mut impl Write,
) -> io::Result<()> {
    for (at, part) in TEMPLATE.split("{{").enumerate() {
        let Some((name, text)) = part.split_once("}}").filter(|_| at > 0) else {
            out.write_all(part.as_bytes())?;
            continue;
        };
        match name {
            "title" => out.write_all(escape(command).as_bytes())?,
            "policy" => out.write_all(policy().as_bytes())?,
            "style" => out.write_all(STYLE.as_bytes())?,
            "script" => out.write_all(SCRIPT.as_bytes())?,
            "head" => head.serialize(&mut Serializer::with_formatter(&mut *out, Inert))?,
            "jobs" => {
                let mut encoder = EncoderWriter::new(&mut *out, &STANDARD);
                io::copy(&mut timeline.read()?, &mut encoder)?;
                encoder.finish()?;
            }
            _ => {}
        }
        out.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// What the browser may load and run: what stands in the page, and no more.
fn policy() -> String {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(SCRIPT),
        hash(STYLE)
    )
}

/// For text between tags.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// JSON that is inert within HTML, whatever its strings are.
struct Inert;

impl Formatter for Inert {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (before, behind) = rest.split_at(at);
            out.write_all(before.as_bytes())?;
            let mut behind = behind.chars();
            if let Some(character) = behind.next() {
                write!(out, "\\u{:04x}", u32::from(character))?;
            }
            rest = behind.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_inert_and_stays_the_same() {
        let text = "</script><!-- <b>&amp;\u{2028}\u{2029}\"\\\u{0}ä";
        let mut json = Vec::new();
        text.serialize(&mut Serializer::with_formatter(&mut json, Inert)).unwrap();
        let json = String::from_utf8(json).unwrap();
        assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn style_and_script_cannot_end_their_elements() {
        assert!(!STYLE.contains("</") && !SCRIPT.contains("</") && !SCRIPT.contains("<!--"));
    }

    #[test]
    fn a_page_is_whole_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        fs::write(&path, "old").unwrap();
        let link = folder.path().join("link.html");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        check(&link).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert!(write(&link, "x", &BadJson, &mut Timeline::default()).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write(&link, "a <b>", &1, &mut Timeline::default()).unwrap();
        let page = fs::read_to_string(&path).unwrap();
        assert!(page.contains("a &lt;b&gt;") && page.trim_end().ends_with("</html>") && !page.contains("{{"));
        assert!(link.is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(check(folder.path()).is_err() && check(&folder.path().join("no/page.html")).is_err());
        assert!(
            check(Path::new("/dev/null")).is_ok()
                && write(Path::new("/dev/null"), "x", &1, &mut Timeline::default()).is_ok()
        );
    }

    struct BadJson;

    impl Serialize for BadJson {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("it cannot be written"))
        }
    }
}
