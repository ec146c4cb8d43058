//! Answers the questions of `conformance/cel`, one JSON document a line in, one a line out:
//! `cargo run -p xebec-expressions --example answer <questions >answers`. With the argument `spec` it judges cases of the
//! language's own suite instead: it tells of those that come out wrong, and how many do not.

mod answering;
mod rendering;

use std::io::{BufRead, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().nth(1).as_deref() == Some("spec") {
        return judge();
    }
    let mut asked = Vec::new();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let question = answering::complete(serde_json::from_str(&line?)?, &asked);
        writeln!(out, "{}", answering::answer(&question))?;
        asked.push(question);
    }
    out.flush()?;
    Ok(())
}

fn judge() -> Result<(), Box<dyn std::error::Error>> {
    let (mut passed, mut count) = (0, 0);
    for line in std::io::stdin().lock().lines() {
        let case: serde_json::Value = serde_json::from_str(&line?)?;
        let answer = answering::answer(&case);
        let right = match case.get("want") {
            Some(want) => answer.get("value") == Some(want),
            None => answer.get("value").is_none(),
        };
        count += 1;
        passed += usize::from(right);
        if !right {
            println!("{}: {} gives {answer} instead of {}", case["name"], case["expr"], case["want"]);
        }
    }
    println!("cel-spec: {passed} of {count} passed");
    if passed == count { Ok(()) } else { Err("some cases came out wrong".into()) }
}
