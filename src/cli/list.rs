//! `--list`: the jobs, with their arguments and what they do.

use sidestep_worker::wire::JobInfo;

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

/// The whole list, a job a line.
pub(super) fn list(jobs: &[JobInfo]) -> String {
    let rows: Vec<(String, String)> = jobs.iter().map(|job| (head(job), description(job))).collect();
    let width =
        rows.iter().map(|(head, _)| head.chars().count()).filter(|width| *width <= WIDEST).max().unwrap_or(0);
    let mut text = String::new();
    for (head, description) in rows {
        let line = match (description.as_str(), head.chars().count() <= width) {
            ("", _) => head,
            (description, true) => format!("{head:width$}  {description}"),
            (description, false) => format!("{head}\n{:width$}  {description}", ""),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
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
        let list = list(&jobs);
        let lines: Vec<&str> = list.lines().collect();
        assert_eq!(lines[0], "add(a: i64, b: i64) -> i64  Adds.");
        assert_eq!(lines[1], "wc(String)                  (instead of the built-in job of this name)");
        assert_eq!(lines[2], "x()");
        assert_eq!(lines[4], "                            Does.");
    }
}
