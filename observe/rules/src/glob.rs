//! Patterns of paths: `*`, `?` and `[a-z]` within any part, as Go's `filepath.Glob` has them.

use std::path::{Component, Path, PathBuf};

use regex::Regex;

/// More files than these are refused.
const MOST_FILES: usize = 100_000;

/// The files that a pattern names, by name; none if there are none. A broken pattern is an error.
pub fn matching(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let Component::Normal(part) = component else {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        };
        let Some(part) = part.to_str().filter(|part| part.contains(['*', '?', '[', '\\'])) else {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        };
        let names = expression(part)?;
        let mut fitting = Vec::new();
        for directory in &found {
            let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            let entries = std::fs::read_dir(listed).into_iter().flatten().filter_map(Result::ok);
            let mut own: Vec<PathBuf> = entries
                .filter(|entry| entry.file_name().to_str().is_some_and(|name| names.is_match(name)))
                .map(|entry| directory.join(entry.file_name()))
                .collect();
            own.sort();
            fitting.append(&mut own);
            if fitting.len() > MOST_FILES {
                return Err(format!("{} names over {MOST_FILES} files: narrow it", pattern.display()));
            }
        }
        found = fitting;
    }
    found.retain(|path| path.exists());
    Ok(found)
}

/// A part of a pattern as a regular expression.
fn expression(part: &str) -> Result<Regex, String> {
    let broken = || format!("syntax error in pattern {part:?}");
    let mut out = String::from("^(?s:");
    let mut letters = part.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '\\' => out.push_str(&regex::escape(&letters.next().ok_or_else(broken)?.to_string())),
            '[' => {
                let rest = letters.as_str();
                let end = rest[1.min(rest.len())..].find(']').ok_or_else(broken)? + 1;
                let class = &rest[..end];
                let (not, class) = class.strip_prefix('^').map_or(("", class), |class| ("^", class));
                let escaped = class.replace('[', "\\[").replace('&', "\\&").replace('~', "\\~");
                out.push_str(&format!("[{not}{escaped}]"));
                letters = rest[end + 1..].chars();
            }
            _ => out.push_str(&regex::escape(&letter.to_string())),
        }
    }
    Regex::new(&(out + ")$")).map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_files() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a/x1.yml", "a/x2.yml", "b/x1.yml", "b/y.yaml"] {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            let found = matching(&directory.path().join(pattern)).unwrap();
            let short = |path: &PathBuf| path.strip_prefix(directory.path()).unwrap().display().to_string();
            found.iter().map(short).collect()
        };
        assert_eq!(names("a/*.yml"), ["a/x1.yml", "a/x2.yml"]);
        assert_eq!(names("*/x[^2].yml"), ["a/x1.yml", "b/x1.yml"]);
        assert_eq!(names("b/?.yaml"), ["b/y.yaml"]);
        assert_eq!(names("b/y.yaml"), ["b/y.yaml"]);
        assert!(names("none.yml").is_empty() && names("c/*").is_empty());
        assert!(matching(Path::new("a/[x")).is_err());
    }
}
