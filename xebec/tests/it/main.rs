//! The program from outside: the house's rules, and the built binary driven as its users drive it.

mod doors;
mod running;
mod up;
