use std::path::Path;

struct Config;

#[sidestep::job]
fn text(x: &str) -> usize {
    x.len()
}

#[sidestep::job]
fn several(bytes: &[u8], path: Option<&Path>, config: &mut Config) {
    let _ = (bytes, path, config);
}

#[sidestep::job]
fn constant() -> &'static str {
    "text"
}

fn main() {
    text("");
    several(b"", None, &mut Config);
    constant();
}
