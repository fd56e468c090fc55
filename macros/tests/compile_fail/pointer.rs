fn double(x: i32) -> i32 {
    x * 2
}

fn main() {
    let pointer: fn(i32) -> i32 = double;
    sidestep::init_with(sidestep::Registry::new().job("double", pointer));
}
