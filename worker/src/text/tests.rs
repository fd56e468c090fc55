use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::path::PathBuf;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::wire::push_piece;
use crate::{Bytes, Failure};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Id(u64);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    y: i32,
    x: i32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Shape {
    JustADot,
    Circle(f64),
}

/// What a job answers to arguments typed by a person: its first byte and the text, or why they do not decode.
fn text<F: Job<Args>, Args: DeserializeOwned>(f: F, args: &[&[u8]]) -> Result<(u8, String), String> {
    let mut pieces = Vec::new();
    args.iter().for_each(|piece| push_piece(&mut pieces, piece));
    answer(|out| serve_text(f, &pieces, out))
}

fn json<F: Job<Args>, Args: DeserializeOwned>(f: F, args: &str) -> Result<(u8, String), String> {
    answer(|out| serve_json(f, args.as_bytes(), out))
}

fn answer(serve: impl FnOnce(&mut Vec<u8>) -> Result<(), Fault>) -> Result<(u8, String), String> {
    let mut out = b"before".to_vec();
    match serve(&mut out) {
        Ok(()) => Ok((out[6], String::from_utf8_lossy(&out[7..]).into_owned())),
        Err(fault) => {
            assert_eq!(out, b"before", "a fault leaves the buffer alone");
            match fault {
                Fault::Decode(why) => Err(why),
                other => Err(format!("{other:?}")),
            }
        }
    }
}

/// What becomes of one typed argument that comes back as it is.
fn echo<T: Serialize + DeserializeOwned + Send + 'static>(typed: impl AsRef<[u8]>) -> Result<String, String> {
    text(|value: T| value, &[typed.as_ref()]).map(|(_, text)| text)
}

#[test]
fn text_becomes_what_the_type_asks_for_and_comes_back() {
    for (outcome, wanted) in [
        (echo::<u8>("255"), "255"),
        (
            echo::<i128>(" -170141183460469231731687303715884105728\r"),
            "-170141183460469231731687303715884105728",
        ),
        (echo::<f64>("1e3"), "1000"),
        (echo::<f32>("0.1"), "0.1"),
        (echo::<bool>("true"), "true"),
        (echo::<char>("é"), "é"),
        (echo::<String>(" as \"it\" is\n"), " as \"it\" is\n"),
        (echo::<Bytes>("bytes"), "bytes"),
        (echo::<Option<u8>>(""), ""),
        (echo::<Option<u8>>("7"), "7"),
        (echo::<()>(""), ""),
        (echo::<Id>("7"), "7"),
        (echo::<Option<Id>>("7"), "7"),
        (echo::<PathBuf>("/tmp/x y"), "/tmp/x y"),
        (echo::<OsString>("/tmp/x y"), "/tmp/x y"),
        (echo::<IpAddr>("::1"), "::1"),
        (echo::<Shape>("just-a-dot"), "just-a-dot"),
        (echo::<Shape>(r#"{"circle": 1.5}"#), r#"{"circle":1.5}"#),
        (echo::<Point>(r#"{"x": 1, "y": 2}"#), r#"{"y":2,"x":1}"#),
        (echo::<(u8, String)>(r#"[1, "a"]"#), r#"[1,"a"]"#),
        (echo::<Vec<Option<u8>>>("[1, null]"), "[1,null]"),
        (echo::<BTreeMap<String, u8>>(r#"{"a": 1}"#), r#"{"a":1}"#),
        (echo::<serde_json::Value>("[1]"), "[1]"),
        (echo::<serde_json::Value>("no json"), "no json"),
    ] {
        assert_eq!(outcome.as_deref(), Ok(wanted));
    }
}

#[test]
fn a_path_need_not_be_text() {
    let path = b"/tmp/caf\xe9".as_slice();
    let mut out = Vec::new();
    let mut pieces = Vec::new();
    push_piece(&mut pieces, path);
    serve_text(|path: Bytes| path, &pieces, &mut out).unwrap();
    serve_text(|path: OsString| path, &pieces, &mut out).unwrap();
    assert_eq!(out, [b"\0", path, b"\0", path].concat());
}

#[test]
fn an_error_names_the_argument_its_text_and_the_type() {
    let long = "x".repeat(5000);
    for (outcome, wanted) in [
        (echo::<i64>("x12"), r#"argument 1 ("x12"): not a number that fits i64"#),
        (echo::<u8>("256"), r#"argument 1 ("256"): not a number that fits u8"#),
        (echo::<u16>("1_000"), r#"argument 1 ("1_000"): not a number that fits u16"#),
        (echo::<f64>(""), r#"argument 1 (""): not a number that fits f64"#),
        (echo::<bool>("yes"), r#"argument 1 ("yes"): not a bool, which is true or false"#),
        (echo::<char>("ab"), r#"argument 1 ("ab"): not a single character"#),
        (echo::<String>(b"caf\xe9"), r#"argument 1 ("caf\xe9"): not valid UTF-8, and the job takes text; "#),
        (echo::<PathBuf>(b"\xe9"), r#"argument 1 ("\xe9"): not valid UTF-8, and the job takes text; "#),
        (echo::<NonZeroU8>("0"), r#"argument 1 ("0"): invalid value: integer `0`, expected a nonzero u8"#),
        (echo::<()>("x"), r#"argument 1 ("x"): not empty"#),
        (
            echo::<Shape>("dot"),
            r#"argument 1 ("dot"): unknown variant `dot`, expected `just-a-dot` or `circle`"#,
        ),
        (echo::<Point>("1,2"), r#"argument 1 ("1,2"): not Point in JSON: invalid type: integer `1`"#),
        (echo::<Vec<u8>>("[1] x"), r#"argument 1 ("[1] x"): not a list in JSON: trailing characters"#),
        (echo::<(u8, u8)>("[1]"), r#"argument 1 ("[1]"): not a list of 2 in JSON: invalid length 1"#),
        (
            text(|_: u8, _: u8| (), &[b"1", b"\n"]).map(|_| String::new()),
            r#"argument 2 ("\n"): not a number"#,
        ),
    ] {
        let why = outcome.unwrap_err();
        assert!(why.starts_with(wanted), "{why}");
    }
    assert!(echo::<u8>(long).unwrap_err().len() < 120);
}

#[test]
fn the_number_of_arguments_must_be_right() {
    assert_eq!(text(|_: u8, _: u8| (), &[b"1"]).unwrap_err(), "takes 2 arguments, 1 given");
    assert_eq!(text(|_: u8| (), &[b"1", b"2"]).unwrap_err(), "takes 1 argument, 2 given");
    assert_eq!(text(|| (), &[b"1"]).unwrap_err(), "takes no arguments, 1 given");
    assert_eq!(text(|| 5, &[]), Ok((0, "5".into())));
    assert_eq!(json(|_: u8, _: u8| (), "[1]").unwrap_err(), "takes 2 arguments, 1 given");
    assert_eq!(json(|| (), "[1]").unwrap_err(), "takes no arguments, 1 given");
    assert_eq!(json(|| 5, " [] "), Ok((0, "5".into())));
    assert_eq!(
        answer(|out| serve_text(|_: u8| (), &[9, 0, 0, 0, 1], out)).unwrap_err(),
        "the arguments are cut off"
    );
}

#[test]
fn json_arguments_and_results_keep_their_form() {
    assert_eq!(json(|a: u8, b: String| (b, a), r#"[1, "x"]"#), Ok((0, r#"["x",1]"#.into())));
    assert_eq!(json(|point: Point| point.x, r#"[{"x": 1, "y": 2}]"#), Ok((0, "1".into())));
    assert_eq!(json(|x: Option<String>| x, r#"["a"]"#), Ok((0, r#""a""#.into())));
    assert_eq!(json(|x: Option<String>| x, "[null]"), Ok((0, "null".into())));
    for (args, wanted) in [
        (r#"[1, 5]"#, "argument 2 (\"5\"): invalid type: integer `5`, expected a string"),
        (r#"{"a": 1}"#, r#""{\"a\": 1}" is not a JSON array of the arguments: "#),
        ("[1, ", r#""[1, " is not a JSON array of the arguments: EOF"#),
        ("", r#""" is not a JSON array of the arguments: EOF"#),
    ] {
        let why = json(|_: u8, _: String| (), args).unwrap_err();
        assert!(why.starts_with(wanted), "{why}");
    }
}

#[test]
fn a_job_s_own_error_is_told_from_a_value() {
    type Outcome<E> = Result<Vec<u8>, E>;
    let fine = || Outcome::<String>::Ok(vec![1, 2]);
    assert_eq!((text(fine, &[]), json(fine, "[]")), (Ok((0, "[1,2]".into())), Ok((0, "[1,2]".into()))));
    assert_eq!(text(|| Result::<_, u8>::Ok("raw".to_owned()), &[]), Ok((0, "raw".into())));
    assert_eq!(json(|| Result::<_, u8>::Ok("raw".to_owned()), "[]"), Ok((0, r#""raw""#.into())));
    let inner = || Result::<Outcome<u8>, u8>::Ok(Err(7));
    assert_eq!(text(inner, &[]), Ok((0, r#"{"Err":7}"#.into())));

    let failed = || -> Outcome<Failure> {
        let parsed = "x".parse::<u8>().map_err(Failure::from);
        parsed.map(|_| Vec::new())
    };
    let text_error = || Outcome::<String>::Err("two\n  lines\n".into());
    let shape_error = || Outcome::<Shape>::Err(Shape::JustADot);
    let point_error = || Outcome::<Point>::Err(Point { x: 1, y: 2 });
    let wide_error = || Outcome::<u128>::Err(u128::MAX);
    for (outcomes, wanted) in [
        ([text(failed, &[]), json(failed, "[]")], "invalid digit found in string"),
        ([text(text_error, &[]), json(text_error, "[]")], "two lines"),
        ([text(shape_error, &[]), json(shape_error, "[]")], "just-a-dot"),
        ([text(point_error, &[]), json(point_error, "[]")], r#"{"y":2,"x":1}"#),
        ([text(wide_error, &[]), json(wide_error, "[]")], "340282366920938463463374607431768211455"),
    ] {
        assert_eq!(outcomes, [Ok((1, wanted.to_owned())), Ok((1, wanted.to_owned()))]);
    }
}

#[test]
fn a_failure_s_causes_are_told() {
    fn read() -> Result<(), Failure> {
        #[derive(Debug)]
        struct Outer(std::num::ParseIntError);
        impl std::fmt::Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bad file")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        "x".parse::<u8>().map(|_| ()).map_err(Outer)?;
        Ok(())
    }
    assert_eq!(text(read, &[]), Ok((1, "bad file: invalid digit found in string".into())));
}

#[test]
fn a_result_that_no_text_can_hold_is_a_fault() {
    let pairs = || BTreeMap::from([((1, 2), 3)]);
    for outcome in [text(pairs, &[]), json(pairs, "[]")] {
        assert_eq!(outcome.unwrap_err(), "Encode(\"key must be a string\")");
    }
    let nested = || Result::<_, u8>::Ok(BTreeMap::from([((1, 2), 3)]));
    assert!(text(nested, &[]).unwrap_err().starts_with("Encode"));
}

const JSON_LIKE: &str = "[\\[\\]{}\",:a-z0-9 ]*";

proptest! {
    #[test]
    fn numbers_survive(int: i64, wide: u128, float: f64, small: f32) {
        prop_assert_eq!(echo::<i64>(int.to_string()), Ok(int.to_string()));
        prop_assert_eq!(echo::<u128>(wide.to_string()), Ok(wide.to_string()));
        prop_assert_eq!(echo::<f64>(float.to_string()), Ok(float.to_string()));
        prop_assert_eq!(echo::<f32>(small.to_string()), Ok(small.to_string()));
    }

    #[test]
    fn text_survives(any: String, c: char) {
        prop_assert_eq!(echo::<String>(&any), Ok(any.clone()));
        prop_assert_eq!(echo::<char>(c.to_string()), Ok(c.to_string()));
        let list = serde_json::to_string(&(&any, c)).unwrap();
        prop_assert_eq!(json(|any: String, c: char| (any, c), &list), Ok((0, list.clone())));
    }

    #[test]
    fn any_bytes_decode_or_fail(bytes: Vec<u8>) {
        let _ = echo::<Option<Vec<(Id, Shape)>>>(&bytes);
        let _ = echo::<serde_json::Value>(&bytes);
        let _ = echo::<OsString>(&bytes);
        let _ = answer(|out| serve_text(|point: Point, text: String| (point, text), &bytes, out));
        let _ = answer(|out| serve_json(|point: Point, text: String| (point, text), &bytes, out));
    }

    #[test]
    fn any_text_like_json_decodes_or_fails(one in JSON_LIKE, two in JSON_LIKE) {
        let pieces = [one.as_bytes(), two.as_bytes()];
        let _ = text(|shape: Shape, points: Vec<Point>| (shape, points), &pieces);
        let _ = json(|shape: Shape, points: Vec<Point>| (shape, points), &format!("[{one},{two}]"));
    }
}
