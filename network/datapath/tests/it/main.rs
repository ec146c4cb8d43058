//! The datapath against the kernel: translation with real sockets between pods, in a network namespace of the test's own.

mod house;
mod services;
