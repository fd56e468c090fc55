use std::borrow::Cow;

#[sidestep::job]
fn of_type<T>(x: T) -> u8
where
    T: Into<u8>,
{
    x.into()
}

#[sidestep::job]
fn of_length<const N: usize>() -> usize {
    N
}

#[sidestep::job]
fn of_lifetime<'a>(x: Cow<'a, str>) -> usize {
    x.len()
}

#[sidestep::job]
fn of_anything(x: impl Into<u8>) -> u8 {
    x.into()
}

fn main() {
    of_type(1u8);
    of_length::<1>();
    of_lifetime("".into());
    of_anything(1u8);
}
