//! What `#[sidestep::job]` finds out about a function.

use std::borrow::Cow;

use sidestep_worker::registry;
use sidestep_worker::wire::JobInfo;

sidestep::worker_entry!();

/// Greets
/// by name.
///
/// At length.
#[sidestep::job]
fn hello(name: String) -> String {
    format!("Hello: {name}")
}

#[sidestep::job(name = "sum of two")]
fn add(a: i64, mut b: i64) -> Result<i64, sidestep::Failure> {
    b = a.checked_add(b).ok_or_else(|| sidestep::Failure::new("too large"))?;
    Ok(b)
}

#[sidestep::job]
#[must_use]
fn r#type((a, b): (u8, u8), _: Option<Vec<String>>) -> u8 {
    a + b
}

#[sidestep::job]
fn nothing() {}

#[sidestep::job]
#[cfg(any())]
fn not_here(_: NoSuchType) {}

#[sidestep::job]
fn cow(text: Cow<'_, str>) -> usize {
    text.len()
}

mod deep {
    #[sidestep::job]
    #[expect(clippy::too_many_arguments, reason = "as many as a job may have")]
    pub(crate) fn deep(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) -> u8 {
        #[sidestep::job]
        fn deepest() {}
        deepest();
        a + b + c + d + e + f + g + h
    }
}

fn job(name: &str) -> JobInfo {
    sidestep::init();
    let table = registry::table().expect("init has made it");
    let number = table.number_named(name).unwrap_or_else(|| panic!("{name} is not in {:?}", names()));
    table.info(number).expect("it has this number").clone()
}

fn names() -> Vec<String> {
    sidestep::init();
    registry::table().into_iter().flat_map(|table| table.infos()).map(|info| info.name.clone()).collect()
}

fn arguments(info: &JobInfo) -> Vec<(&str, &str)> {
    info.args.iter().map(|arg| (arg.name.as_str(), arg.ty.as_str())).collect()
}

#[test]
fn all_jobs_are_there_in_the_order_of_their_names() {
    assert_eq!(names(), ["cow", "deep", "deepest", "hello", "nothing", "sum of two", "type"]);
}

#[test]
fn a_job_knows_its_arguments_and_its_result() {
    let hello = job("hello");
    assert_eq!((arguments(&hello), hello.output.as_str()), (vec![("name", "String")], "String"));
    let add = job("sum of two");
    assert_eq!(arguments(&add), [("a", "i64"), ("b", "i64")]);
    assert_eq!(add.output, "Result<i64, Failure>");
    assert_eq!(arguments(&job("type")), [("", "(u8, u8)"), ("", "Option<Vec<String>>")]);
    assert_eq!((arguments(&job("nothing")), job("nothing").output.as_str()), (vec![], "()"));
    assert_eq!(job("deep").args.len(), 8);
}

#[test]
fn a_job_s_doc_line_is_the_first_paragraph() {
    assert_eq!(job("hello").doc, "Greets by name.");
    assert_eq!(job("nothing").doc, "");
}

#[test]
fn a_job_is_found_by_its_function() {
    fn number_of<F: 'static>(_: F) -> Option<u32> {
        sidestep::init();
        registry::table().and_then(registry::Table::number_of::<F>)
    }
    assert_eq!(number_of(hello), Some(3));
    assert_eq!(number_of(r#type), Some(6));
    assert_eq!(number_of(|x: u8| x), None);
}

#[test]
fn a_job_stays_an_ordinary_function() {
    assert_eq!(hello("you".into()), "Hello: you");
    assert_eq!(add(2, 3).ok(), Some(5));
    assert_eq!(deep::deep(1, 1, 1, 1, 1, 1, 1, 1), 8);
    assert_eq!(cow("text".into()), 4);
    nothing();
}
