//! The schedule of a CronJob: five fields, or a word for a usual one.

const USUAL: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The numbers and words of one field.
struct Field {
    least: u32,
    most: u32,
    words: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { least: 0, most: 59, words: &[] },
    Field { least: 0, most: 23, words: &[] },
    Field { least: 1, most: 31, words: &[] },
    Field { least: 1, most: 12, words: &MONTHS },
    Field { least: 0, most: 6, words: &DAYS },
];

/// What is wrong with a schedule.
pub(super) fn fault(schedule: &str) -> Option<String> {
    if let Some(every) = schedule.strip_prefix("@every ") {
        let units =
            every.ends_with(['s', 'm', 'h']) && every.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        return (!units).then(|| format!("failed to parse duration {schedule}"));
    }
    if schedule.starts_with('@') {
        return (!USUAL.contains(&schedule)).then(|| format!("unrecognized descriptor: {schedule}"));
    }
    let parts: Vec<&str> = schedule.split_whitespace().collect();
    if parts.len() != FIELDS.len() {
        return Some(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
    }
    parts.iter().zip(&FIELDS).find_map(|(part, field)| part.split(',').find_map(|range| field.fault(range)))
}

impl Field {
    /// What is wrong with one of the ranges of a field, such as `*/5` or `mon-fri`.
    fn fault(&self, range: &str) -> Option<String> {
        let (span, step) = match range.split('/').collect::<Vec<_>>().as_slice() {
            [span] => (*span, None),
            [span, step] => (*span, Some(*step)),
            _ => return Some(format!("too many slashes: {range}")),
        };
        match step.map(str::parse::<u32>) {
            Some(Ok(0)) => return Some(format!("step of range should be a positive number: {range}")),
            Some(Err(_)) => return Some(format!("failed to parse int from {}", step.unwrap_or_default())),
            _ => {}
        }
        if matches!(span, "*" | "?") {
            return None;
        }
        let (first, last) = match span.split('-').collect::<Vec<_>>().as_slice() {
            [one] => (self.number(one), self.number(one)),
            [first, last] => (self.number(first), self.number(last)),
            _ => return Some(format!("too many hyphens: {range}")),
        };
        match (first, last) {
            (Err(why), _) | (_, Err(why)) => Some(why),
            (Ok(first), _) if first < self.least => {
                Some(format!("beginning of range ({first}) below minimum ({}): {range}", self.least))
            }
            (_, Ok(last)) if last > self.most => {
                Some(format!("end of range ({last}) above maximum ({}): {range}", self.most))
            }
            (Ok(first), Ok(last)) if first > last => {
                Some(format!("beginning of range ({first}) beyond end of range ({last}): {range}"))
            }
            _ => None,
        }
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let word = self.words.iter().position(|word| text.eq_ignore_ascii_case(word));
        if let Some(number) = word.and_then(|at| u32::try_from(at).ok()) {
            return Ok(number + self.least);
        }
        text.parse().map_err(|_| format!("failed to parse int from {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_five_fields_or_a_word() {
        for sound in ["* * * * *", "*/5 0-3,7 1 jan-DEC mon", "@hourly", "@every 1h30m", "0 0 ? * 6"] {
            assert_eq!(fault(sound), None, "{sound}");
        }
        for (wrong, why) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("@never", "unrecognized descriptor: @never"),
        ] {
            assert_eq!(fault(wrong).as_deref(), Some(why));
        }
        assert!(
            fault("x * * * *").is_some()
                && fault("1-2-3 * * * *").is_some()
                && fault("1/2/3 * * * *").is_some()
        );
    }
}
