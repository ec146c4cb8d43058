//! Checks and tests rule files as `promtool check rules` and `promtool test rules` do:
//! `rules check FILE…`, `rules test FILE…`; `rules templates FILE` holds expansions that upstream recorded against ours.

use std::path::Path;
use std::process::ExitCode;

use xebec_promql::labels::{Label, Labels};
use xebec_promql::parser::ParserOptions;
use xebec_promql::value::VectorSample;
use xebec_rules::file::{UnknownFields, duplicates, load};
use xebec_rules::template::{Data, Surroundings, Template};
use xebec_rules::unit_test::{self, Options};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((mode, files)) = args.split_first() else {
        eprintln!("usage: rules check|test|templates FILE...");
        return ExitCode::from(2);
    };
    let mut good = true;
    for file in files {
        good &= match mode.as_str() {
            "check" => check(file),
            "test" => test(file),
            "templates" => templates(file),
            _ => false,
        };
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn failed(errors: &[String]) -> bool {
    println!("  FAILED:");
    errors.iter().for_each(|error| println!("{error}"));
    false
}

fn check(file: &str) -> bool {
    println!("Checking {file}");
    let groups = match load(Path::new(file), UnknownFields::Refused, ParserOptions::default()) {
        Ok(groups) => groups,
        Err(errors) => return failed(&errors),
    };
    let twice = duplicates(&groups);
    if twice.is_empty() {
        println!("  SUCCESS: {} rules found\n", groups.iter().map(|group| group.rules.len()).sum::<usize>());
        return true;
    }
    println!("  FAILED:\nlint error {} duplicate rule(s) found.", twice.len());
    for rule in &twice {
        println!("Metric: {}\nLabel(s):", rule.name);
        rule.labels.iter().for_each(|(name, value)| println!("\t{name}: {value}"));
    }
    println!("Might cause inconsistency while recording expressions\n");
    false
}

fn test(file: &str) -> bool {
    println!("Unit Testing:  {file}");
    let failures = match unit_test::run(Path::new(file), &Options::default()) {
        Ok(report) => report.failures,
        Err(why) => vec![why],
    };
    if !failures.is_empty() {
        return failed(&failures);
    }
    println!("  SUCCESS\n");
    true
}

/// Lines of JSON: `text`, and `output` or `error`.
fn templates(file: &str) -> bool {
    let recorded = std::fs::read_to_string(file).unwrap_or_default();
    let (mut passed, mut of) = (0, 0);
    for line in recorded.lines() {
        let Ok(case) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let text = case["text"].as_str().unwrap_or_default();
        let ours = expand(text);
        let theirs = match case["error"].as_str() {
            Some(error) if !error.is_empty() => Err(error.to_owned()),
            _ => Ok(case["output"].as_str().unwrap_or_default().to_owned()),
        };
        of += 1;
        if ours == theirs {
            passed += 1;
        } else {
            eprintln!("{text:?}\n  theirs {theirs:?}\n  ours   {ours:?}");
        }
    }
    println!("rules-templates: {passed} of {of} passed");
    of > 0
}

/// Expands a template with the data that upstream's side has.
fn expand(text: &str) -> Result<String, String> {
    let labels =
        |pairs: &[(&str, &str)]| Labels::new(pairs.iter().map(|(name, value)| Label::new(*name, *value)));
    let found = [
        VectorSample {
            labels: labels(&[("__name__", "m"), ("instance", "b:9090")]),
            value: 21.0,
            histogram: None,
        },
        VectorSample {
            labels: labels(&[("__name__", "m"), ("instance", "a.x:80")]),
            value: 0.125,
            histogram: None,
        },
    ];
    let template = Template::parse("t", text).map_err(|why| format!("error parsing template t: {why}"))?;
    let mut query = |query: &str| match query {
        "none" => Ok(Vec::new()),
        "bad" => Err("bad query".to_owned()),
        _ => Ok(found.to_vec()),
    };
    let mut surroundings = Surroundings {
        query: &mut query,
        external_url: "http://testhost:9090/path/prefix",
        time: 1_353_755_652_000,
    };
    let external = [("zone".to_owned(), "z".to_owned())].into();
    let own = labels(&[("job", "j"), ("instance", "host.example:9100")]);
    let data = Data::of_alert(&own, &external, "http://testhost:9090/path/prefix", 1234.5, None);
    template.expand(&data, &mut surroundings)
}
