//! Where inputs come from, and where they go in a command.

use super::{Case, compare};

/// Options, the line of shell, and where its inputs come from; then standard input; then what comes out.
type Row = (&'static [&'static str], &'static str, &'static [&'static str], &'static str, &'static str);

const CASES: &[Row] = &[
    // One source.
    (&[], "echo", &[], "x\ny z\n", "x\ny z\n"),
    (&[], "echo", &[":::", "x", "y  z"], "", "x\ny  z\n"),
    (&[], "echo", &["::::", "one"], "", "a\nb c\n"),
    (&["-a", "one"], "echo", &[], "", "a\nb c\n"),
    (&["-0"], "echo", &[], "x\ny\0z\0", "x\ny\nz\n"),
    (&["-d", ";"], "echo", &[], "x;y;z", "x\ny\nz\n"),
    (&["-d", "\\t"], "echo", &[], "x\ty", "x\ny\n"),
    (&[], "echo", &[":::", "$HOME", "`id`", "it's", "-n", "*"], "", "$HOME\n`id`\nit's\n*\n"),
    // Names that are hard on a shell. With `-0` also a newline.
    (
        &[],
        "printf '<%s>'",
        &[":::", "it's", "'", "a'b'", "\\", "\"", "", "-n", "--", "#", "~"],
        "",
        "<it's><'><a'b'><\\><\"><><-n><--><#><~>",
    ),
    (
        &[],
        "printf '<%s>'",
        &[":::", "a;b", "a&b", "a|b", "(", "{", "<", "!", "?", "[a]", "a=b", "%s", "a,b:c@d"],
        "",
        "<a;b><a&b><a|b><(><{><<><!><?><[a]><a=b><%s><a,b:c@d>",
    ),
    (
        &[],
        "printf '<%s>'",
        &[":::", " ", "  a  b ", "\t", "\r", "ü", "日本"],
        "",
        "< ><  a  b ><\t><\r><ü><日本>",
    ),
    (&["-0"], "printf '<%s>' {} {.}", &[], "a\nb/c d.e\0-x\0", "<a\nb/c d.e><a\nb/c d><-x><-x>"),
    (&["-0", "--dry-run"], "ls {}", &[], "a\nb\0it's\0a,b%\0", "ls 'a\nb'\nls 'it'\"'\"'s'\nls 'a,b%'\n"),
    // Several of them.
    (&[], "echo", &[":::", "a", "b", ":::", "1", "2"], "", "a 1\na 2\nb 1\nb 2\n"),
    (&[], "echo", &["::::", "one", "two"], "", "a 1\na 2\na 3\nb c 1\nb c 2\nb c 3\n"),
    (&["-a", "one", "-a", "two"], "echo {2}{1}", &[], "", "1a\n2a\n3a\n1b c\n2b c\n3b c\n"),
    (&["-a", "two"], "echo", &[":::", "x"], "", "1 x\n2 x\n3 x\n"),
    (&[], "echo", &["::::", "-", ":::", "x", "y"], "p\nq\n", "p x\np y\nq x\nq y\n"),
    (&[], "echo", &[":::", "a", "b", ":::+", "1", "2", ":::", "X", "Y"], "", "a 1 X\na 1 Y\nb 2 X\nb 2 Y\n"),
    (&[], "echo", &[":::", "a", "b", "c", ":::+", "1", "2"], "", "a 1\nb 2\n"),
    (&[], "echo", &["::::", "one", "::::+", "two"], "", "a 1\nb c 2\n"),
    (&["--link"], "echo", &[], "x\ny\n", "x\ny\n"),
    (&["--link"], "echo", &[":::", "a", "b", ":::", "1", "2", "3"], "", "a 1\nb 2\na 3\n"),
    (&["--xapply"], "echo", &[":::", "a", "b", ":::", "1", "2"], "", "a 1\nb 2\n"),
    // Columns.
    (&["--colsep", ","], "echo {2}-{1}", &[], "a,b\nc,d\n", "b-a\nd-c\n"),
    (&["-C", " +"], "echo {3}{-1}", &[], "a  b c\n", "cc\n"),
    (&["-C", ","], "echo", &[], "a,b\n", "a b\n"),
    (&["-C", ","], "echo [{3}]", &[], "a,b\n", "[]\n"),
    // Placeholders.
    (&[], "echo {} {}", &[":::", "a"], "", "a a\n"),
    (
        &[],
        "echo {.} {/} {//} {/.} {#}",
        &[":::", "d/e/f.tar.gz", "x"],
        "",
        "d/e/f.tar f.tar.gz d/e f.tar 1\nx x . x 2\n",
    ),
    (&[], "echo {2.} {2/} {1//} {1/.}", &[":::", "d/e.x", ":::", "p/q.r"], "", "p/q q.r d e\n"),
    (&[], "echo {#}", &[":::", "a", "b"], "", "1\n2\n"),
    (&[], "echo pre{}post", &[":::", "a b"], "", "prea bpost\n"),
    (&[], "cat {}", &[":::", "one"], "", "a\nb c\n"),
    // Several inputs for each job.
    (&["-n2"], "echo", &[":::", "a", "b  c", "d"], "", "a b  c\nd\n"),
    (&["-N2"], "echo {1}-{2}-{3}", &[":::", "a", "b", "c"], "", "a-b-\nc--\n"),
    (&["--max-args", "3"], "echo {#} {-1}", &["::::", "two"], "", "1 3\n"),
    (&["-n2"], "echo {.} {/}", &[], "d/a.x\nb.y\nc.z\n", "d/a b a.x b.y\nc c.z\n"),
    (&["-n2"], "echo x{}y", &[":::", "a", "b c", "d"], "", "xa b cy\nxdy\n"),
    (&["-N2"], "echo", &[":::", "a", "b", ":::", "1", "2", "3"], "", "a 1 a 2\na 3 b 1\nb 2 b 3\n"),
    (&["-N2", "-C", ","], "echo {1}_{2}_{3}_{4}", &[":::", "a,b", "c,d", "e,f"], "", "a_b_c_d\ne_f__\n"),
    (&["--max-replace-args", "2"], "echo", &[":::", "a", "b", "c"], "", "a b\nc\n"),
    (&["-N0"], "echo hi {#}", &[":::", "a", "b"], "", "hi 1\nhi 2\n"),
    // Blocks.
    (&["--pipe"], "cat; echo {#}", &[], "x\ny", "x\ny1\n"),
    (&["--pipe"], "cat", &[], "", ""),
    (&["--pipe", "--block", "4"], "echo {#}; cat", &[], "a\nb\nc\nd\n", "1\na\nb\n2\nc\nd\n"),
    (&["--pipe", "--block", "3", "--recend", ";"], "cat; echo", &[], "a;b;c;d", "a;\nb;\nc;\nd\n"),
    (&["--pipe", "--block", "2", "--recend", "\\t"], "cat; echo", &[], "a\tb\tc", "a\t\nb\t\nc\n"),
    (
        &["--pipe", "--block", "5", "--recend", "END"],
        "cat; echo",
        &[],
        "aENDbENDcENDd",
        "aEND\nbEND\ncEND\nd\n",
    ),
    (&["--pipe", "--block", "3", "--recend", ""], "cat; echo", &[], "abcdefgh", "abc\ndef\ngh\n"),
    (
        &["--pipe", "--block", "8", "--recstart", ">"],
        "cat; echo",
        &[],
        ">a\nx\n>b\ny\n>c\n",
        ">a\nx\n\n>b\ny\n\n>c\n\n",
    ),
    (&["--pipe", "-N2"], "cat; echo", &[], "1\n2\n3\n4\n5\n", "1\n2\n\n3\n4\n\n5\n\n"),
    (&["--pipe", "-n2", "--recend", ";"], "cat; echo", &[], "a;b;c;d;e", "a;b;\nc;d;\ne\n"),
];

#[test]
fn inputs_are_combined_and_go_where_they_belong() {
    let cases = CASES.iter().map(|&(options, line, behind, stdin, _)| Case { options, line, behind, stdin });
    let outcomes = compare(cases, &["-w2"], &["-j2", "-k"]);
    for (row, outcome) in CASES.iter().zip(outcomes) {
        assert_eq!((outcome.stdout.as_str(), outcome.code), (row.4, Some(0)), "{row:?}");
    }
}
