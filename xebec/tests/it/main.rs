//! The program from outside: the house's rules, and the built binary driven as its users drive it.

mod doors;
mod images;
mod running;
mod up;
