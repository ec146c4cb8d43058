//! Holds the parser against what upstream's says of the same queries: `PROMQL_GRAMMAR=FILE` names a file of JSON lines,
//! as `conformance/promql/run` makes one. Without it the test is skipped and says so.

use xebec_promql::parser::{ParserOptions, parse};

#[test]
fn reads_queries_as_upstream_does() {
    let Ok(path) = std::env::var("PROMQL_GRAMMAR") else {
        println!("skipped: PROMQL_GRAMMAR names no file");
        return;
    };
    let verdicts = std::fs::read_to_string(&path).unwrap();
    let (mut passed, mut accepted_wrongly, mut failures) = (0, 0, Vec::new());
    for line in verdicts.lines() {
        let verdict: serde_json::Value = serde_json::from_str(line).unwrap();
        let query = verdict["query"].as_str().unwrap();
        let options = match verdict["experimental"].as_bool() {
            Some(true) => ParserOptions::EXPERIMENTAL,
            _ => ParserOptions::default(),
        };
        let ours = parse(query, options).map(|expr| expr.to_string()).map_err(|error| error.to_string());
        let expected = match verdict["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(verdict["printed"].as_str().unwrap_or_default().to_owned()),
        };
        if ours == expected {
            passed += 1;
        } else {
            accepted_wrongly += usize::from(ours.is_ok() != expected.is_ok());
            failures.push((query.to_owned(), expected, ours));
        }
    }
    let shown = std::env::var("PROMQL_SHOW").ok().and_then(|count| count.parse().ok()).unwrap_or(20);
    for (query, expected, ours) in failures.iter().take(shown) {
        println!("{query}\n  upstream: {expected:?}\n  here:     {ours:?}");
    }
    println!("{accepted_wrongly} are taken though upstream refuses them");
    println!("promql-parser: {passed} of {} passed", passed + failures.len());
    let least = std::env::var("PROMQL_LEAST").ok().and_then(|count| count.parse().ok()).unwrap_or(usize::MAX);
    assert!(
        failures.is_empty() || passed >= least,
        "{} queries are read otherwise than upstream",
        failures.len()
    );
}
