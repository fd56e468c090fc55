struct Adder(u8);

impl Adder {
    #[sidestep::job]
    fn add(&self, other: u8) -> u8 {
        self.0 + other
    }

    #[sidestep::job]
    fn new(x: u8) -> Self {
        Adder(x)
    }
}

fn main() {
    Adder::new(1).add(2);
}
