#[sidestep::job]
struct Data(u8);

#[sidestep::job]
const NUMBER: u8 = 1;

trait Works {
    #[sidestep::job]
    fn work(x: u8);
}

impl Works for Data {
    fn work(_: u8) {}
}

fn main() {
    Data::work(Data(NUMBER).0);
}
