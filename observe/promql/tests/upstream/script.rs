//! Upstream's test format: `load`, `clear` and `eval` with what is expected.

use regex::Regex;
use xebec_promql::duration::Duration;
use xebec_promql::labels::Labels;
use xebec_promql::number;
use xebec_promql::series_description::{self, DescribedSample};

/// A series that is loaded.
pub(crate) struct LoadedSeries {
    pub(crate) labels: Labels,
    pub(crate) samples: Vec<DescribedSample>,
    /// The start times of the samples, in milliseconds relative to their times.
    pub(crate) starts: Option<Vec<Option<i64>>>,
}

/// A text that is expected, whole or by pattern.
pub(crate) enum Expected {
    Message(String),
    Pattern(Regex),
}

impl Expected {
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Message(message) => message == text,
            Self::Pattern(pattern) => pattern.is_match(text),
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Message(message) => out.write_str(message),
            Self::Pattern(pattern) => write!(out, "/{pattern}/"),
        }
    }
}

/// What is expected besides the result.
#[derive(Default)]
pub(crate) struct Expectations {
    pub(crate) ordered: bool,
    pub(crate) fail: Option<Vec<Expected>>,
    pub(crate) warn: Vec<Expected>,
    pub(crate) info: Vec<Expected>,
    pub(crate) no_warn: bool,
    pub(crate) no_info: bool,
    /// Of the older forms: there is a warning, an info.
    pub(crate) any_warn: bool,
    pub(crate) any_info: bool,
}

/// An evaluation.
pub(crate) struct Evaluation {
    pub(crate) line: usize,
    pub(crate) query: String,
    /// Of an instant query, the start and end are its time.
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) step: i64,
    pub(crate) is_range: bool,
    pub(crate) expectations: Expectations,
    /// Series in the order in which they are expected.
    pub(crate) series: Vec<(Labels, Vec<DescribedSample>)>,
    pub(crate) scalar: Option<f64>,
    pub(crate) string: Option<String>,
    /// The times of an expected range vector.
    pub(crate) range_vector: Option<(i64, i64, i64)>,
}

pub(crate) enum Command {
    Clear,
    Load { step: i64, with_custom_histograms: bool, series: Vec<LoadedSeries> },
    Eval(Box<Evaluation>),
}

fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| error.to_string())
}

fn millis(text: &str) -> Result<i64, String> {
    Duration::parse(text).map(Duration::millis)
}

pub(crate) fn parse(text: &str) -> Result<Vec<Command>, String> {
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.trim())
        .map(|line| if line.starts_with('#') { "" } else { line })
        .collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        at += 1;
        if line.is_empty() {
            continue;
        }
        let first = at;
        while at < lines.len() && !lines[at].is_empty() {
            at += 1;
        }
        let mut body = &lines[first..at];
        let word = line.split_whitespace().next().unwrap_or_default().to_lowercase();
        let command = if word == "clear" {
            at = first;
            body = &[];
            Ok(Command::Clear)
        } else if word.starts_with("load") {
            load(line, body)
        } else if word.starts_with("eval") {
            let (evaluation, read) = eval(line, body, first)?;
            at = first + read;
            Ok(Command::Eval(Box::new(evaluation)))
        } else {
            Err(format!("invalid command {line:?}"))
        };
        let _ = body;
        commands.push(command.map_err(|error| format!("{first}: {error}"))?);
    }
    Ok(commands)
}

fn load(line: &str, body: &[&str]) -> Result<Command, String> {
    let (word, step) = line.split_once(char::is_whitespace).ok_or("load without step")?;
    let mut series = Vec::new();
    let mut starts = None;
    for line in body {
        let head = line.split_whitespace().next().unwrap_or_default();
        if let Some(metric) = head.strip_suffix("@st") {
            series_description::parse(&format!("{metric} _"))?;
            starts = Some(start_times(line[head.len()..].trim())?);
            continue;
        }
        let (labels, samples) = series_description::parse(line)?;
        series.push(LoadedSeries { labels, samples, starts: starts.take() });
    }
    let with_custom_histograms = word == "load_with_nhcb";
    Ok(Command::Load { step: millis(step.trim())?, with_custom_histograms, series })
}

/// `-1m`, `_x2`, `0sx3`, `-30s-1mx4`
fn start_times(text: &str) -> Result<Vec<Option<i64>>, String> {
    let pattern = regex(r"^([+-]?\d+[a-wyz]*)(?:([+-])(\d+[a-wyz]*))?(?:x(\d+))?$")?;
    let mut out = Vec::new();
    for item in text.split_whitespace() {
        if let Some(omitted) = item.strip_prefix('_') {
            let count =
                omitted.strip_prefix('x').map_or(Ok(1), str::parse).map_err(|_| "invalid repeat count")?;
            out.extend(std::iter::repeat_n(None, count));
            continue;
        }
        let parts = pattern.captures(item).ok_or_else(|| format!("invalid start time {item:?}"))?;
        let signed = |text: &str| {
            let value = millis(text.trim_start_matches(['+', '-']))?;
            Ok::<i64, String>(if text.starts_with('-') { -value } else { value })
        };
        let mut value = signed(&parts[1])?;
        let delta =
            parts.get(3).map_or(Ok(0), |delta| signed(&format!("{}{}", &parts[2], delta.as_str())))?;
        let count =
            parts.get(4).map_or(Ok(0), |count| count.as_str().parse::<usize>()).map_err(|_| "bad count")?;
        for _ in 0..=count {
            out.push(Some(value));
            value += delta;
        }
    }
    Ok(out)
}

fn eval(line: &str, body: &[&str], number_of_line: usize) -> Result<(Evaluation, usize), String> {
    let instant = regex(r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$")?;
    let range = r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$";
    let range = regex(range)?;
    let (mode, times, query, is_range) = if let Some(parts) = instant.captures(line) {
        let time = parts.get(2).map_or(Ok(0), |time| millis(time.as_str()))?;
        (parts.get(1).map(|mode| mode.as_str()), (time, time, 0), parts[3].to_owned(), false)
    } else if let Some(parts) = range.captures(line) {
        let times = (millis(&parts[2])?, millis(&parts[3])?, millis(&parts[4])?);
        (parts.get(1).map(|mode| mode.as_str()), times, parts[5].to_owned(), true)
    } else {
        return Err(format!("{number_of_line}: invalid evaluation command {line:?}"));
    };
    let mut evaluation = Evaluation {
        line: number_of_line,
        query,
        start: times.0,
        end: times.1,
        step: times.2,
        is_range,
        expectations: Expectations::default(),
        series: Vec::new(),
        scalar: None,
        string: None,
        range_vector: None,
    };
    let expectations = &mut evaluation.expectations;
    match mode {
        Some("fail") => expectations.fail = Some(Vec::new()),
        Some("warn") => expectations.any_warn = true,
        Some("info") => expectations.any_info = true,
        Some("ordered") => expectations.ordered = true,
        _ => {}
    }
    let mut read = 0;
    for line in body {
        read += 1;
        if expected_line(&mut evaluation, line)
            .map_err(|error| format!("{}: {error}", number_of_line + read))?
        {
            break;
        }
    }
    Ok((evaluation, read))
}

/// Reads a line of what is expected; says whether it is the last one.
fn expected_line(evaluation: &mut Evaluation, line: &str) -> Result<bool, String> {
    let expectations = &mut evaluation.expectations;
    if let Some(fail) = &mut expectations.fail {
        if let Some(message) = line.strip_prefix("expected_fail_message") {
            fail.push(Expected::Message(message.trim().to_owned()));
            return Ok(true);
        }
        if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
            fail.push(Expected::Pattern(regex(pattern.trim())?));
            return Ok(true);
        }
    }
    if let Some(times) = line.strip_prefix("expect range vector") {
        let words: Vec<&str> = times.split_whitespace().collect();
        let ["from", from, "to", to, "step", step] = words.as_slice() else {
            return Err(format!("invalid range vector definition {line:?}"));
        };
        evaluation.range_vector = Some((millis(from)?, millis(to)?, millis(step)?));
        return Ok(false);
    }
    if let Some(text) = line.strip_prefix("expect string") {
        let literal = xebec_promql::parser::parse(text.trim(), Default::default());
        let Ok(xebec_promql::ast::Expr::String(literal)) = literal else {
            return Err(format!("expected string literal not valid: {text:?}"));
        };
        evaluation.string = Some(literal.value.to_string());
        return Ok(false);
    }
    if line.split(' ').next() == Some("expect") {
        expected_note(expectations, line)?;
        return Ok(false);
    }
    if let Ok(value) = number::parse(line) {
        evaluation.scalar = Some(value);
        return Ok(true);
    }
    evaluation.series.push(series_description::parse(line)?);
    Ok(false)
}

fn expected_note(expectations: &mut Expectations, line: &str) -> Result<(), String> {
    let pattern = regex(r"^expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?$")?;
    let parts = pattern.captures(line).ok_or_else(|| format!("invalid expect statement {line:?}"))?;
    let expected = match (parts.get(2).map(|kind| kind.as_str()), parts.get(3)) {
        (Some("msg"), Some(text)) => Expected::Message(text.as_str().trim().to_owned()),
        (Some("regex"), Some(text)) => {
            Expected::Pattern(regex(text.as_str().trim()).map_err(|error| error.to_string())?)
        }
        _ => Expected::Pattern(regex("")?),
    };
    match &parts[1] {
        "ordered" => expectations.ordered = true,
        "fail" => expectations.fail.get_or_insert_default().push(expected),
        "warn" => expectations.warn.push(expected),
        "info" => expectations.info.push(expected),
        "no_warn" => expectations.no_warn = true,
        _ => expectations.no_info = true,
    }
    Ok(())
}
