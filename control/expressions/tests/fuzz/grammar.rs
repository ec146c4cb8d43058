//! Expressions made from chance: some that mean something, some that nearly do, and some that never did.

use serde_json::{Value as Json, json};
use xebec_dice::Dice;

/// Values that stand for themselves.
const LITERALS: [&str; 34] = [
    "0",
    "1",
    "-1",
    "7u",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615u",
    "0.5",
    "1e308",
    "-0.0",
    "true",
    "false",
    "null",
    "''",
    "'a'",
    "'a,b,c'",
    "'é\u{1F600}'",
    "b'\\xff'",
    "'10.0.0.1'",
    "'10.0.0.0/8'",
    "'1.5Gi'",
    "'1.2.3-rc.1+b'",
    "'https://example.com:80/a?b=c#d'",
    "'2026-01-01T00:00:00Z'",
    "'1h30m'",
    "'(a+)+$'",
    "'%s %d %x %.3f %e %b %o'",
    "[]",
    "{}",
    "[1, 2, 3]",
    "['b', 'a', 'b']",
    "[[1], [2, [3]]]",
    "{'a': 1, 'b': 2}",
    "{1: 'x', true: 2.5}",
];

/// Names that are declared, and one that is not.
const NAMES: [&str; 6] = ["x", "y", "n", "s", "l", "nobody"];

const OPERATORS: [&str; 14] = ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "in", "&&", "||"];

/// What is called by its name alone.
const FUNCTIONS: [&str; 22] = [
    "size",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "bool",
    "type",
    "dyn",
    "duration",
    "timestamp",
    "quantity",
    "isQuantity",
    "ip",
    "isIP",
    "cidr",
    "isCIDR",
    "url",
    "isURL",
    "semver",
    "optional.of",
    "lists.range",
];

/// What is called of a value.
const METHODS: [&str; 46] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "indexOf",
    "lastIndexOf",
    "substring",
    "replace",
    "split",
    "join",
    "charAt",
    "trim",
    "lowerAscii",
    "upperAscii",
    "find",
    "findAll",
    "format",
    "reverse",
    "sort",
    "isSorted",
    "sum",
    "min",
    "max",
    "first",
    "last",
    "slice",
    "flatten",
    "distinct",
    "getHours",
    "getFullYear",
    "getSeconds",
    "getHost",
    "getQuery",
    "family",
    "isLoopback",
    "containsIP",
    "prefixLength",
    "masked",
    "isGreaterThan",
    "add",
    "sub",
    "compareTo",
    "asInteger",
    "hasValue",
    "orValue",
];

/// Loops over one variable.
const MACROS: [&str; 6] = ["all", "exists", "exists_one", "map", "filter", "sortBy"];
/// Loops over two.
const PAIRS: [&str; 4] = ["all", "exists", "transformList", "transformMap"];

/// What the dice make of the language.
pub(crate) trait Grammar {
    /// An expression that nests no deeper than this.
    fn expression(&mut self, depth: usize) -> String;

    /// The text with a few of its characters changed, doubled, moved or cut off.
    fn garbled(&mut self, text: &str) -> String;

    /// Any JSON.
    fn object(&mut self, depth: usize) -> Json;
}

impl Grammar for Dice {
    fn expression(&mut self, depth: usize) -> String {
        if depth == 0 || self.once_in(6) {
            let from: &[&str] = if self.once_in(2) { &LITERALS } else { &NAMES };
            return (*self.pick(from)).to_owned();
        }
        let depth = depth - 1;
        match self.below(13) {
            0 | 1 => {
                let (left, right) = (self.expression(depth), self.expression(depth));
                format!("({left} {} {right})", self.pick(&OPERATORS))
            }
            2 => format!("{}({})", self.pick(&["!", "-"]), self.expression(depth)),
            3 => {
                let (question, yes) = (self.expression(depth), self.expression(depth));
                format!("({question} ? {yes} : {})", self.expression(depth))
            }
            4 => format!("{}({})", self.pick(&FUNCTIONS), arguments(self, depth)),
            5 | 6 => {
                let target = self.expression(depth);
                format!("{target}.{}({})", self.pick(&METHODS), arguments(self, depth))
            }
            7 => {
                let (target, variable) = (self.expression(depth), *self.pick(&["i", "j", "x"]));
                format!("{target}.{}({variable}, {})", self.pick(&MACROS), self.expression(depth))
            }
            8 => {
                let target = self.expression(depth);
                format!("{target}.{}(i, j, {})", self.pick(&PAIRS), self.expression(depth))
            }
            9 => {
                let (target, index) = (self.expression(depth), self.expression(depth));
                format!("{target}{}{index}]", self.pick(&["[", "[?"]))
            }
            10 => format!("{}{}", self.expression(depth), self.pick(&[".a", ".?a", ".`b`", ".a.b"])),
            11 => {
                let items: Vec<_> = (0..self.below(4)).map(|_| self.expression(depth)).collect();
                format!("[{}]", items.join(", "))
            }
            _ => {
                let entry = |dice: &mut Self| format!("{}: {}", dice.expression(0), dice.expression(depth));
                let entries: Vec<_> = (0..self.below(3)).map(|_| entry(self)).collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }

    fn garbled(&mut self, text: &str) -> String {
        const PIECES: [&str; 24] = [
            "(", ")", "[", "]", "{", "}", "?", ":", ".", ",", "'", "\"", "\\", "\\u", "r'", "\"\"\"", "&&",
            "||", "é", "\u{0}", "\u{feff}", "0x", "`", "//",
        ];
        let mut letters: Vec<char> = text.chars().collect();
        for _ in 0..=self.below(4) {
            let at = self.below(letters.len() + 1);
            let end = (at + self.below(10)).min(letters.len());
            match self.below(5) {
                0 => drop(letters.splice(at..at, self.pick(&PIECES).chars())),
                1 => drop(letters.drain(at..end)),
                2 => {
                    let copy = letters[at..end].to_vec();
                    drop(letters.splice(at..at, copy));
                }
                3 => letters.truncate(at),
                _ => {
                    let letter = char::from_u32(self.below(0x2_0000) as u32).unwrap_or('\u{fffd}');
                    letters.insert(at, letter);
                }
            }
        }
        letters.into_iter().collect()
    }

    fn object(&mut self, depth: usize) -> Json {
        match self.below(if depth == 0 { 7 } else { 11 }) {
            0 => Json::Null,
            1 => self.once_in(2).into(),
            2 => (self.number() as i64).into(),
            3 => self.number().into(),
            4 => json!(*self.pick(&[0.0, -0.5, 1e300, 5e-324])),
            5 => "a".repeat(self.below(40)).into(),
            6 => (*self.pick(&["", "é\u{0}", "10.0.0.1", "1Gi", "1h", "\u{1F600}"])).into(),
            7 | 8 => (0..self.below(5)).map(|_| self.object(depth - 1)).collect(),
            _ => {
                let keys = ["a", "b", "a.b", "é"];
                let entries = keys[..self.below(5)].iter();
                Json::Object(entries.map(|key| ((*key).to_owned(), self.object(depth - 1))).collect())
            }
        }
    }
}

fn arguments(dice: &mut Dice, depth: usize) -> String {
    let arguments: Vec<_> = (0..dice.below(3)).map(|_| dice.expression(depth)).collect();
    arguments.join(", ")
}
