//! The form of case files and transcripts, and what of an output differs from run to run.

use std::sync::LazyLock;

use regex::Regex;

/// A command and what it printed.
pub(crate) struct Case {
    pub(crate) command: String,
    pub(crate) output: String,
}

/// The commands of a case file: each begins with `$ ` and goes on to the next one, comment or empty line.
pub(crate) fn commands(text: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut within = false;
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push(command.to_owned());
            within = true;
        } else if line.is_empty() || line.starts_with('#') {
            within = false;
        } else {
            assert!(within, "{line:?} belongs to no command");
            let command = commands.last_mut().expect("a command has begun");
            command.push('\n');
            command.push_str(line);
        }
    }
    commands
}

/// A transcript as text: the command's further lines behind `> `, its output two spaces in.
pub(crate) fn write(cases: &[Case]) -> String {
    let mut text = String::new();
    for case in cases {
        for (number, line) in case.command.lines().enumerate() {
            text.push_str(if number == 0 { "$ " } else { "> " });
            text.push_str(line);
            text.push('\n');
        }
        for line in case.output.lines() {
            text.push_str("  ");
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// What [`write`] wrote.
pub(crate) fn read(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            cases.push(Case { command: command.to_owned(), output: String::new() });
            continue;
        }
        let case = cases.last_mut().expect("a transcript begins with a command");
        if let Some(more) = line.strip_prefix("> ") {
            case.command.push('\n');
            case.command.push_str(more);
        } else {
            case.output.push_str(line.strip_prefix("  ").expect("output is two spaces in"));
            case.output.push('\n');
        }
    }
    cases
}

/// An output without what no two runs have in common: times, identities, revisions, addresses, generated names, and the
/// widths of columns that follow from these; and whether a client that ends its own watch was in the middle of an event.
pub(crate) fn settled(output: &str) -> String {
    static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        [
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
            (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000", "<time>"),
            (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000 UTC", "<time>"),
            (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3} +\d+ \d\d:\d\d:\d\d \d{4}", "<time>"),
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
            (r#"(resourceVersion"?: ?)"\d+""#, "$1\"<version>\""),
            (r"\beyJ[\w-]+\.[\w-]+\.[\w-]+", "<token>"),
            (r"\b10\.96\.\d+\.\d+\b", "<ip>"),
            (r"https://127\.0\.0\.1:\d+", "<server>"),
            (r"-[bcdf-hj-np-tv-xz2-9]{8,10}-[bcdf-hj-np-tv-xz2-9]{5}\b", "-<hash>-<random>"),
            (r"-[bcdf-hj-np-tv-xz24-9]{8,10}\b", "-<hash>"),
            (r"(pod-template-hash[=:] ?)\w+", "$1<hash>"),
            (r"([A-Za-z]-)[bcdf-hj-np-tv-xz24-9]{5}\b", "$1<random>"),
            (r"(nodePort\S* |NodePort: .*|\d+:)3[0-2]\d{3}(/TCP)", "$1<port>$2"),
            (r"\b\d+(s|m|h|ms)(\d+s)?\b", "<age>"),
            (r"<invalid>", "<age>"),
            (r"[ \t]+", " "),
            (r" +\n", "\n"),
        ]
        .map(|(pattern, instead)| (Regex::new(pattern).expect("a pattern"), instead))
        .into()
    });
    static OWN_END: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^I\d{4} .* reflector\.go:\d+\] .*context canceled").expect("a pattern")
    });
    // Leading space is kept: it is the structure of YAML.
    output
        .lines()
        .filter(|line| !OWN_END.is_match(line))
        .map(|line| {
            let body = line.trim_start_matches(' ');
            // The order of an object's keys means nothing.
            let mut text = match serde_json::from_str::<serde_json::Value>(body) {
                Ok(value @ (serde_json::Value::Object(_) | serde_json::Value::Array(_))) => {
                    format!("{value}\n")
                }
                _ => format!("{body}\n"),
            };
            for (pattern, instead) in &*RULES {
                if let std::borrow::Cow::Owned(changed) = pattern.replace_all(&text, *instead) {
                    text = changed;
                }
            }
            format!("{}{text}", &line[..line.len() - body.len()])
        })
        .collect()
}

#[test]
fn a_transcript_reads_as_it_was_written() {
    let commands = commands("# Why.\n$ cat <<EOF\na: 1\nEOF\n\n# Another.\n$ true\n");
    assert_eq!(commands, ["cat <<EOF\na: 1\nEOF", "true"]);
    let cases: Vec<Case> =
        commands.into_iter().map(|command| Case { command, output: "x\n\n  y\n".to_owned() }).collect();
    let text = write(&cases);
    assert_eq!(write(&read(&text)), text);
    assert_eq!(read(&text)[0].output, "x\n\n  y\n");
}

#[test]
fn what_differs_from_run_to_run_is_taken_out() {
    assert_eq!(
        settled("web-5d4f8c7b9d-x2x4z   1/1  Running   0   12s\n"),
        "web-<hash>-<random> 1/1 Running 0 <age>\n"
    );
    let ended = "I1122 00:07:10.051349 11709 reflector.go:578] \"watch ended\" err=\"context canceled\"\n";
    assert_eq!(settled(&format!("{ended}a\n")), "a\n");
    assert_eq!(
        settled("  name: a\n    uid: 0f5c1f0a-0000-4000-8000-0123456789ab\n"),
        "  name: a\n    uid: <uid>\n"
    );
}
