//! The scheduler, rule by rule and through random histories.

mod deaths;
mod histories;
mod life;
mod rig;
mod rules;
mod world;
