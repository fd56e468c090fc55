#[sidestep::job]
fn numbers() -> impl Iterator<Item = u8> {
    std::iter::empty()
}

#[sidestep::job]
fn never() -> ! {
    std::process::exit(1)
}

fn main() {
    numbers();
    never();
}
