//! `--list`: the jobs, with their arguments and what they do.

use serde::Serialize;
use sidestep_worker::wire::{ArgInfo, JobInfo};

use super::builtin::{self, BuiltIn};

/// A job longer than this has its description on a line of its own.
const WIDEST: usize = 44;

/// How a job is written in Rust, without its name's `fn`: `add(a: i64, b: i64)`.
pub(super) fn signature(job: &JobInfo) -> String {
    let args: Vec<String> = job
        .args
        .iter()
        .map(|arg| match arg.name.as_str() {
            "" => arg.ty.clone(),
            name => format!("{name}: {}", arg.ty),
        })
        .collect();
    format!("{}({})", job.name, args.join(", "))
}

/// The whole list: a job a line, or several lines where `columns` are too few for that.
pub(super) fn list(jobs: &[JobInfo], columns: Option<usize>) -> String {
    let rows: Vec<(String, String)> = jobs.iter().map(|job| (head(job), description(job))).collect();
    let wide = |text: &str| text.chars().count();
    let width = rows.iter().map(|(head, _)| wide(head)).filter(|width| *width <= WIDEST).max().unwrap_or(0);
    let needed = rows.iter().map(|(_, text)| if text.is_empty() { 0 } else { width + 2 + wide(text) }).max();
    let mut list = String::new();
    for (head, text) in rows {
        list.push_str(&match columns.filter(|columns| needed.is_some_and(|needed| needed > *columns)) {
            _ if text.is_empty() => head,
            Some(columns) => format!("{head}{}", wrapped(&text, columns)),
            None if wide(&head) <= width => format!("{head:width$}  {text}"),
            None => format!("{head}\n{:width$}  {text}", ""),
        });
        list.push('\n');
    }
    list
}

/// A text in lines of its own, which are shorter than `columns` if words are.
fn wrapped(text: &str, columns: usize) -> String {
    let mut lines = String::new();
    let mut room = 0;
    for word in text.split_whitespace() {
        let wide = word.chars().count() + 1;
        if wide > room {
            lines.push_str("\n   ");
            room = columns.saturating_sub(3);
        }
        lines.push(' ');
        lines.push_str(word);
        room = room.saturating_sub(wide);
    }
    lines
}

/// A job as other programs read it.
#[derive(Serialize)]
struct Described<'a> {
    name: &'a str,
    args: Vec<DescribedArg<'a>>,
    output: &'a str,
    /// All of it, not only the first line.
    doc: &'a str,
    built_in: bool,
}

#[derive(Serialize)]
struct DescribedArg<'a> {
    /// `null` where nobody has told it.
    name: Option<&'a str>,
    #[serde(rename = "type")]
    ty: &'a str,
}

/// The list for programs: a JSON object a line.
pub(super) fn json(jobs: &[JobInfo]) -> serde_json::Result<String> {
    let mut list = String::new();
    for job in jobs {
        let described = Described {
            name: &job.name,
            args: job.args.iter().map(described_arg).collect(),
            output: &job.output,
            doc: job.doc.trim(),
            built_in: built_in(job).is_some(),
        };
        list.push_str(&serde_json::to_string(&described)?);
        list.push('\n');
    }
    Ok(list)
}

fn described_arg(ArgInfo { name, ty }: &ArgInfo) -> DescribedArg<'_> {
    DescribedArg { name: (!name.is_empty()).then_some(name), ty }
}

/// Their names, one a line.
pub(super) fn names(jobs: &[JobInfo]) -> String {
    jobs.iter().map(|job| job.name.clone() + "\n").collect()
}

fn built_in(job: &JobInfo) -> Option<&'static BuiltIn> {
    builtin::ALL.into_iter().find(|built_in| built_in.is(job))
}

fn head(job: &JobInfo) -> String {
    match (built_in(job), job.output.as_str()) {
        (Some(BuiltIn { usage: Some(usage), .. }), _) => (*usage).to_owned(),
        (Some(_), "Result<Text, String>") => signature(job),
        (_, "()") => signature(job),
        (_, output) => format!("{} -> {output}", signature(job)),
    }
}

fn description(job: &JobInfo) -> String {
    let doc = job.doc.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let replaced = built_in(job).is_none() && builtin::ALL.iter().any(|built_in| built_in.name == job.name);
    match (doc, replaced) {
        (doc, false) => doc.to_owned(),
        ("", true) => "(instead of the built-in job of this name)".to_owned(),
        (doc, true) => format!("{doc} (instead of the built-in job of this name)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidestep_worker::wire::ArgInfo;

    fn job(name: &str, args: &[(&str, &str)], output: &str, doc: &str) -> JobInfo {
        let args = args.iter().map(|(name, ty)| ArgInfo { name: (*name).into(), ty: (*ty).into() }).collect();
        JobInfo { name: name.into(), args, output: output.into(), signature: 0, doc: doc.into() }
    }

    #[test]
    fn jobs_stand_in_columns() {
        let jobs = [
            job("add", &[("a", "i64"), ("b", "i64")], "i64", " Adds.\n\n More.\n"),
            job("wc", &[("", "String")], "()", ""),
            job("x", &[], "()", ""),
            job("y", &[("long", &"Vec<".repeat(12))], "()", "Does."),
        ];
        let list = list(&jobs, None);
        let lines: Vec<&str> = list.lines().collect();
        assert_eq!(lines[0], "add(a: i64, b: i64) -> i64  Adds.");
        assert_eq!(lines[1], "wc(String)                  (instead of the built-in job of this name)");
        assert_eq!(lines[2], "x()");
        assert_eq!(lines[4], "                            Does.");
    }

    #[test]
    fn a_narrow_terminal_has_descriptions_below() {
        let jobs = [job("add", &[("a", "i64")], "i64", "Adds one and one"), job("x", &[], "()", "")];
        assert_eq!(list(&jobs, Some(36)), "add(a: i64) -> i64  Adds one and one\nx()\n");
        assert_eq!(list(&jobs, Some(18)), "add(a: i64) -> i64\n    Adds one and\n    one\nx()\n");
        assert_eq!(list(&jobs, Some(0)), "add(a: i64) -> i64\n    Adds\n    one\n    and\n    one\nx()\n");
    }

    #[test]
    fn programs_get_all_that_is_known() {
        let list = json(&[job("add", &[("a", "i64"), ("", "u8")], "i64", " Adds.\n\n More.\n")]).unwrap();
        let args = r#"[{"name":"a","type":"i64"},{"name":null,"type":"u8"}]"#;
        let expected = format!(
            r#"{{"name":"add","args":{args},"output":"i64","doc":"Adds.\n\n More.","built_in":false}}"#
        );
        assert_eq!(list, expected + "\n");
    }
}
