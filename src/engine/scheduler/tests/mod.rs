//! The scheduler, rule by rule and through random histories.

mod checks;
mod deaths;
mod ending;
mod histories;
mod items;
mod life;
mod limits;
mod loose;
mod recycling;
mod rig;
mod room;
mod rules;
mod told;
mod usage;
mod world;
