#[sidestep::job(nam = "x")]
fn misspelled() {}

#[sidestep::job(name = "")]
fn empty() {}

#[sidestep::job(name = "a", name = "b")]
fn twice() {}

#[sidestep::job(name = 5)]
fn number() {}

#[sidestep::job("x")]
fn bare() {}

fn main() {
    misspelled();
    empty();
    twice();
    number();
    bare();
}
