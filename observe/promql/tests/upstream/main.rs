//! Runs upstream's own test files: `PROMQL_TESTDATA=DIR cargo test -p xebec-promql --test upstream -- --nocapture`. For
//! each file it prints how many of its evaluations pass. Without a directory the test is skipped and says so.
//!
//! `PROMQL_LEAST` is the number of evaluations that have to pass (all, if it is not set); `PROMQL_SHOW` is the number of
//! failures that are shown; `PROMQL_ONLY` names the one file that is run.

mod judge;
mod loading;
mod script;

use judge::Judge;

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn evaluates_as_upstream_does() {
    let Ok(directory) = std::env::var("PROMQL_TESTDATA") else {
        println!("skipped: PROMQL_TESTDATA names no directory");
        return;
    };
    let only = std::env::var("PROMQL_ONLY").ok();
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "test"))
        .filter(|path| {
            only.as_ref().is_none_or(|only| path.file_stem().is_some_and(|stem| stem == only.as_str()))
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{directory} holds no test files");
    let mut shown = number("PROMQL_SHOW").unwrap_or(20);
    let (mut passed, mut all) = (0, 0);
    for file in &files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file).unwrap();
        let commands = script::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut judge = Judge::default();
        for command in &commands {
            judge.run(command);
        }
        for failure in judge.failures.iter().take(shown) {
            println!("{name}:{failure}");
        }
        shown = shown.saturating_sub(judge.failures.len());
        let file_all = judge.passed + judge.failures.len();
        println!("{name}: {} of {file_all} passed", judge.passed);
        passed += judge.passed;
        all += file_all;
    }
    println!("promql: {passed} of {all} passed");
    let least = number("PROMQL_LEAST").unwrap_or(all);
    assert!(passed >= least, "{passed} evaluations passed, fewer than {least}");
}
