//! `--halt WHEN,WHY=VALUE`: when a run ends before its inputs do, in GNU parallel's words.

/// What becomes of the jobs that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// They are ended too.
    Now,
    /// They may end by themselves.
    Soon,
}

/// Which jobs are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Fail,
    Success,
    Done,
}

/// How many of them there have to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Many {
    Count(u64),
    /// So many hundredths of those that have ended, once there are three of them.
    Percent(f64),
}

/// When a run ends early.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Halt {
    pub(crate) when: When,
    pub(crate) why: Why,
    pub(crate) many: Many,
}

impl Halt {
    /// `None` for `never`. `1` and `2` are short for `soon,fail=1` and `now,fail=1`, as `-1` and `-2` for success, and `10%`
    /// for `soon,fail=10%`.
    pub(crate) fn parse(text: &str) -> Result<Option<Halt>, String> {
        let one = |when, why| Ok(Some(Halt { when, why, many: Many::Count(1) }));
        match text {
            "never" | "0" => return Ok(None),
            "1" => return one(When::Soon, Why::Fail),
            "2" => return one(When::Now, Why::Fail),
            "-1" => return one(When::Soon, Why::Success),
            "-2" => return one(When::Now, Why::Success),
            _ => {}
        }
        let bad = || {
            format!(
                "\"{text}\" is not of the kind now,fail=1 or soon,fail=10% (now or soon; fail, success or done)"
            )
        };
        let (when, rest) = match text.split_once(',') {
            Some(("now", rest)) => (When::Now, rest),
            Some(("soon", rest)) => (When::Soon, rest),
            None if text.ends_with('%') => {
                return Ok(Some(Halt {
                    when: When::Soon,
                    why: Why::Fail,
                    many: many(text).ok_or_else(bad)?,
                }));
            }
            _ => return Err(bad()),
        };
        let (why, value) = rest.split_once('=').ok_or_else(bad)?;
        let why = match why {
            "fail" => Why::Fail,
            "success" => Why::Success,
            "done" => Why::Done,
            _ => return Err(bad()),
        };
        Ok(Some(Halt { when, why, many: many(value).ok_or_else(bad)? }))
    }
}

fn many(text: &str) -> Option<Many> {
    match text.strip_suffix('%') {
        Some(number) => {
            number.parse().ok().filter(|percent| *percent > 0.0 && *percent <= 100.0).map(Many::Percent)
        }
        None => text.parse().ok().filter(|count| *count > 0).map(Many::Count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_gnu_parallels_grammar() {
        let halt = |when, why, many| Ok(Some(Halt { when, why, many }));
        for (text, expected) in [
            ("never", Ok(None)),
            ("now,fail=1", halt(When::Now, Why::Fail, Many::Count(1))),
            ("soon,fail=10%", halt(When::Soon, Why::Fail, Many::Percent(10.0))),
            ("now,success=3", halt(When::Now, Why::Success, Many::Count(3))),
            ("soon,done=50%", halt(When::Soon, Why::Done, Many::Percent(50.0))),
            ("2", halt(When::Now, Why::Fail, Many::Count(1))),
            ("-1", halt(When::Soon, Why::Success, Many::Count(1))),
            ("5%", halt(When::Soon, Why::Fail, Many::Percent(5.0))),
        ] {
            assert_eq!(Halt::parse(text), expected, "{text}");
        }
        for bad in [
            "",
            "now",
            "now,fail",
            "later,fail=1",
            "now,lost=1",
            "now,fail=0",
            "now,fail=101%",
            "soon,fail=x",
            "3",
        ] {
            assert!(Halt::parse(bad).is_err(), "{bad}");
        }
    }
}
