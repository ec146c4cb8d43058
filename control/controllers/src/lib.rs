//! The controllers of the built-in kinds: what each decides, as functions of the objects that it saw.
//!
//! What comes in: a snapshot of objects. What goes out: the changes to make and the status to write. A decision knows
//! neither clock nor client, so each is tested against values, and every state that a missed event could leave behind is
//! just another value. Nothing here reaches the store: changes go through the Kubernetes API like anybody's.

pub mod deployment;
pub mod replica_set;
