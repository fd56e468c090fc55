#[sidestep::job]
unsafe fn raw(x: u8) -> u8 {
    x
}

#[sidestep::job]
extern "C" fn foreign(x: u8) -> u8 {
    x
}

fn main() {
    // SAFETY: it does nothing.
    unsafe { raw(1) };
    foreign(1);
}
