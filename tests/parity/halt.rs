//! When `--halt` ends a run: all of its grammar over the same jobs.

use super::{Case, compare, parallel};

const MIXED: &[&str] = &[":::", "0", "3", "0", "5", "0", "0", "7", "0", "0", "9"];
const BAD_FIRST: &[&str] = &[":::", "4", "0", "0", "6"];

/// Each rule over jobs that fail now and then. With one job at a time the end is the same each time.
#[test]
fn each_rule_ends_a_run_after_the_same_job_with_the_same_code() {
    let mut rules = vec!["never".to_owned(), "0".into(), "1".into(), "2".into()];
    for when in ["now", "soon"] {
        for why in ["fail", "success", "done"] {
            // Shares that are reached, and are more than one job: see the next test.
            let each = ["1", "2", "4", "35%"].map(|many| format!("{when},{why}={many}"));
            rules.extend(each.into_iter().filter(|rule| !rule.ends_with("done=1")));
        }
    }
    let options: Vec<_> = rules.iter().map(|rule| ["--halt", rule]).collect();
    let cases = options.iter().flat_map(|options| {
        [MIXED, BAD_FIRST].map(|behind| Case { options, line: "echo o{}; exit {}", behind, stdin: "" })
    });
    compare(cases, &["-w1"], &["-j1", "-k"]);
}

/// Each on purpose.
#[test]
fn what_is_not_as_with_gnu_parallel() {
    // A share, if it has ended the run: there it is the code of the job if the share is just one job,
    for (rule, behind, ours, theirs) in [
        ("soon,fail=10%", MIXED, 10, 3),
        // and also if the share was not reached. Of that nobody knows that it is a share.
        ("now,fail=60%", MIXED, 4, 40),
        ("soon,success=80%", MIXED, 4, 40),
        // A run that is not whole is never well, unless a success was looked for.
        ("now,done=1", MIXED, 1, 0),
        ("soon,done=1", MIXED, 1, 0),
        ("now,done=1", BAD_FIRST, 4, 4),
    ] {
        let options = &["--halt", rule];
        let case = Case { options, line: "echo o{}; exit {}", behind, stdin: "" };
        let outcome = case.ours(&["-w1"]);
        assert_eq!(outcome.code, Some(ours), "{rule}");
        if let Some(program) = parallel() {
            let their = case.theirs(program, &["-j1", "-k"]);
            assert_eq!((their.code, their.stdout), (Some(theirs), outcome.stdout), "{rule}");
        }
    }
}
