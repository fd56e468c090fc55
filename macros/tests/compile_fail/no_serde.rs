struct Opaque;

#[sidestep::job]
fn argument(a: u8, x: Vec<Opaque>) -> u8 {
    let _ = x;
    a
}

#[sidestep::job]
fn result(a: u8) -> Opaque {
    let _ = a;
    Opaque
}

fn main() {
    argument(1, vec![]);
    result(1);
}
