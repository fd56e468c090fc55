//! Chance that is the same in each run: the scheduler has no source of its own, so that a history can be told again.

/// A number that has nothing in common with that of a neighbouring seed: one step of SplitMix64 (Steele, Lea and Flood,
/// 2014).
pub(super) fn mix(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ bits >> 31
}
