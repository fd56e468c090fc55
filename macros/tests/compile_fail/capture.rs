fn main() {
    let offset = 5;
    let registry = sidestep::Registry::new().job("shifted", move |x: i32| x + offset);
    sidestep::init_with(registry);
}
