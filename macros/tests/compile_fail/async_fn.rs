#[sidestep::job]
async fn later(x: u8) -> u8 {
    x
}

fn main() {
    let _ = later(1);
}
