//! What all who follow objects share: kinds known by watches, and passes whose defects end nobody else.

mod defect;
mod known;

pub use defect::{Defect, caught};
pub use known::{Follower, Known};
