//! What the compiler says to those who hold it wrong.
//!
//! The texts are those of one compiler release; after an update, `TRYBUILD=overwrite` writes them anew.

const CASES: &[&str] = &[
    "async_fn",
    "borrowed",
    "capture",
    "generic",
    "method",
    "nine_arguments",
    "no_function",
    "no_serde",
    "opaque_result",
    "options",
    "pointer",
    "unsafe_fn",
];

#[test]
fn misuse_is_refused_where_it_stands() {
    let cases = trybuild::TestCases::new();
    // A case that passes makes trybuild build instead of check, without which `capture` and `pointer` would
    // compile.
    cases.pass("tests/compile_fail/pass_*.rs");
    for case in CASES {
        cases.compile_fail(format!("tests/compile_fail/{case}.rs"));
    }
}
