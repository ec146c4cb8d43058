//! `xebec status`: which parts of a running instance answer.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::{Output, StatusArgs};
use crate::data_dir::endpoints_of;

/// A part on the same machine that takes longer than this to accept a connection does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Prints one line a part; fails when one does not answer.
pub(crate) async fn run(args: &StatusArgs) -> Result<()> {
    let mut rows = Vec::new();
    for (part, address) in endpoints_of(&args.data)? {
        let answers = matches!(timeout(PATIENCE, TcpStream::connect(address)).await, Ok(Ok(_)));
        rows.push((part, address, answers));
    }
    match args.output {
        Output::Text => {
            for (part, address, answers) in &rows {
                println!("{part:<12} {address:<22} {}", if *answers { "serving" } else { "does not answer" });
            }
        }
        Output::Json => {
            let rows: Vec<_> = rows
                .iter()
                .map(|(part, address, answers)| json!({"part": part, "address": address, "serving": answers}))
                .collect();
            println!("{}", serde_json::to_string_pretty(&rows)?);
        }
    }
    let silent: Vec<&str> =
        rows.iter().filter(|(.., answers)| !answers).map(|(part, ..)| part.as_str()).collect();
    if !silent.is_empty() {
        bail!(
            "{} of {} does not answer: if the process was killed, start it again with `xebec up`",
            silent.join(", "),
            args.data.display()
        );
    }
    Ok(())
}
