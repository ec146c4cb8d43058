use std::io;

/// What can go wrong with the datapath.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A range of addresses is malformed.
    #[error("{text:?} is no range of addresses: write ADDRESS/LENGTH, IPv4")]
    SubnetSyntax {
        /// The text, cut short.
        text: String,
    },
    /// The name of a table or an interface is malformed.
    #[error("{text:?} cannot name {what}: use 1 to {most} letters, digits, `-` and `_`, a letter first")]
    NameSyntax {
        /// What is to be named.
        what: &'static str,
        /// The text, cut short.
        text: String,
        /// How long it may be.
        most: usize,
    },
    /// The kernel cannot be asked.
    #[error(
        "the kernel's nf_tables cannot be reached: {0}: load the module nf_tables, or use a kernel with it"
    )]
    Unreachable(#[source] io::Error),
    /// The kernel lets only the machine's owner do it.
    #[error("translating addresses needs the right CAP_NET_ADMIN: run as root to have it")]
    Unprivileged,
    /// The table is another process's.
    #[error("the table {table} is held by another process: end that one first")]
    Held {
        /// The table.
        table: String,
    },
    /// The kernel did not take a change. It took no part of it.
    #[error("the kernel refused to {what}: {source}: the table {table} is as it was")]
    Refused {
        /// The table.
        table: String,
        /// What was asked for.
        what: String,
        /// Why it refused.
        source: io::Error,
    },
    /// The kernel's answer did not come or cannot be read.
    #[error(
        "the kernel's answer about the table {table}: {source}: the table is written anew at the next change"
    )]
    Answer {
        /// The table.
        table: String,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A setting of the kernel cannot be made.
    #[error("{setting} cannot be set: {source}: mount /proc/sys for writing, or set it yourself")]
    Setting {
        /// The setting, as sysctl(8) writes it.
        setting: String,
        /// Why.
        source: io::Error,
    },
}
