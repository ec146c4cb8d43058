//! `xebec status`: which parts of a running instance answer.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::StatusArgs;
use crate::data_dir::{endpoints_of, start_again};
use crate::output::table;

/// A part on the same machine that takes longer than this to accept a connection does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Prints one line a part; fails when one does not answer.
pub(crate) async fn run(args: &StatusArgs) -> Result<()> {
    let mut rows = Vec::new();
    for (part, address) in endpoints_of(&args.data)? {
        let answers = matches!(timeout(PATIENCE, TcpStream::connect(address)).await, Ok(Ok(_)));
        rows.push((part, address, answers));
    }
    let values: Vec<_> = rows
        .iter()
        .map(|(part, address, answers)| json!({"part": part, "address": address, "serving": answers}))
        .collect();
    args.output.print(&values, || {
        let row = |(part, address, answers): &(String, SocketAddr, bool)| {
            let state = if *answers { "serving" } else { "does not answer" };
            [part.clone(), address.to_string(), state.to_owned()]
        };
        table(["PART", "ADDRESS", "STATE"], &rows.iter().map(row).collect::<Vec<_>>())
    })?;
    let silent: Vec<&str> =
        rows.iter().filter(|(.., answers)| !answers).map(|(part, ..)| part.as_str()).collect();
    if !silent.is_empty() {
        let answer = if silent.len() == 1 { "does not answer" } else { "do not answer" };
        bail!("{} of {} {answer}: {}", silent.join(", "), args.data.display(), start_again(&args.data));
    }
    Ok(())
}
