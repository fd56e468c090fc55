//! What the attribute takes, in a crate that allows no unsafe code and wants everything documented.
#![forbid(unsafe_code)]
#![deny(missing_docs, warnings)]

use std::borrow::Cow;

mod deep {
    pub(crate) mod er {
        #[sidestep::job(name = "deep.er")]
        pub(crate) fn job(x: Vec<(u8, Option<String>)>) -> usize {
            x.len()
        }
    }
}

macro_rules! make {
    ($name:ident, $ty:ty) => {
        #[sidestep::job]
        fn $name(x: $ty) -> $ty {
            x
        }
    };
}

make!(made, u64);

/// As an entry of its own, it must not collide with what the attribute writes.
#[sidestep::job]
fn registry(def: u8) -> u8 {
    def
}

/// The other one.
#[must_use]
#[sidestep::job]
#[inline(never)]
const fn def(registry: u8) -> u8 {
    registry
}

#[sidestep::job]
#[deprecated]
fn old() {}

#[sidestep::job]
#[cfg(any())]
fn never(x: NoSuchType) {}

#[cfg(any())]
#[sidestep::job]
fn neither(x: NoSuchType) {}

#[sidestep::job]
fn r#type((a, b): (u8, u8), mut x: u8, _: u8, [c]: [u8; 1]) -> u8 {
    x += a + b;
    x + c
}

#[sidestep::job]
fn cow(x: Cow<'_, str>) -> Cow<'static, str> {
    x.into_owned().into()
}

#[sidestep::job]
fn eight(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) -> Result<u8, sidestep::Failure> {
    Ok(a + b + c + d + e + f + g + h)
}

fn main() {
    #[sidestep::job]
    fn inner() {}
    sidestep::init();
    inner();
    assert_eq!(deep::er::job(vec![]), 0);
    assert_eq!(made(1), 1);
    assert_eq!(registry(def(1)), 1);
    assert_eq!(r#type((1, 2), 3, 4, [5]), 11);
    assert_eq!(cow("x".into()), "x");
    assert_eq!(eight(1, 1, 1, 1, 1, 1, 1, 1).ok(), Some(8));
}
