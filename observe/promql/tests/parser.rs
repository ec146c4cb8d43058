//! What queries read as, and what is said of those that are wrong.

use xebec_promql::ast::{Borders, Cardinality, Expr, ValueType};
use xebec_promql::parser::{MAX_DEPTH, MAX_HEIGHT, MAX_LENGTH, ParserOptions, parse, parse_selector};
use xebec_promql::position::Position;

fn all(query: &str) -> Result<Expr, String> {
    parse(query, ParserOptions::EXPERIMENTAL).map_err(|error| error.to_string())
}

fn printed(query: &str) -> String {
    all(query).unwrap_or_else(|error| panic!("{query}: {error}")).to_string()
}

#[test]
fn queries_print_in_one_form() {
    let forms = [
        ("1e3", "1000"),
        ("0x1F", "31"),
        ("1h30m", "1h30m"),
        ("-5m", "-5m"),
        ("+Inf", "+Inf"),
        ("'it\\'s'", "\"it's\""),
        ("`raw\\n`", "\"raw\\\\n\""),
        ("foo { a = 'b' , }", "foo{a=\"b\"}"),
        ("{'a metric', b=~'c'}", "{__name__=\"a metric\",b=~\"c\"}"),
        ("{\"é\"='ü'}", "{\"é\"=\"ü\"}"),
        ("SUM(foo) BY (a,)", "sum by (a) (foo)"),
        ("sum without() (foo)", "sum without () (foo)"),
        ("sum by (sum, bool, on) (foo)", "sum by (sum, bool, on) (foo)"),
        ("topk(5, foo) by (a)", "topk by (a) (5, foo)"),
        ("a+b*c^d^e", "a + b * c ^ d ^ e"),
        ("a == bool b", "a == bool b"),
        ("a * on(b) group_left(c) d", "a * on (b) group_left (c) d"),
        ("a and ignoring(b) c", "a and ignoring (b) c"),
        ("a / fill(0) b", "a / fill (0) b"),
        ("a / fill_right(-1) fill_left(2m) b", "a / fill_left (120) fill_right (-1) b"),
        ("foo offset 5m @ 10", "foo @ 10.000 offset 5m"),
        ("foo offset -1h", "foo offset -1h"),
        ("foo[90s] @ end() offset 1", "foo[1m30s] @ end() offset 1s"),
        ("foo[5m:]", "foo[5m:]"),
        ("foo[1h:30s] offset 5m", "foo[1h:30s] offset 5m"),
        ("foo[step()+1m]", "foo[step() + 1m]"),
        ("foo offset (step()*2)", "foo offset (step() * 2)"),
        ("foo offset 5m + 3", "foo offset 5m + 3"),
        ("foo offset -max_of(step(), 5m)", "foo offset -max_of(step(), 5m)"),
        ("rate(foo[5m] smoothed)", "rate(foo[5m] smoothed)"),
        ("offset offset 5m", "offset offset 5m"),
        ("sum", "sum"),
        ("fill + fill", "fill + fill"),
        ("a # comment\n+ b", "a + b"),
        ("a </ 5 >/ 3", "a </ 5 >/ 3"),
    ];
    for (query, form) in forms {
        assert_eq!(printed(query), form, "{query}");
        assert_eq!(printed(form), form, "{form}");
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    let mistakes = [
        ("", "unknown position: parse error: no expression found in input"),
        ("# only a comment", "1:1: parse error: no expression found in input"),
        ("1+", "1:3: parse error: unexpected end of input"),
        (".", "1:1: parse error: unexpected character: '.'"),
        ("2.5.", "1:1: parse error: bad number or duration syntax: \"2.5.\""),
        ("1 /", "1:4: parse error: unexpected end of input"),
        ("*1", "1:1: parse error: unexpected <op:*>"),
        ("(1))", "1:5: parse error: unexpected right parenthesis ')'"),
        ("((1)", "1:5: parse error: unclosed left parenthesis"),
        ("foo{a=b}", "1:7: parse error: unexpected identifier \"b\" in label matching, expected string"),
        ("foo{a>\"b\"}", "1:6: parse error: unexpected character inside braces: '>'"),
        (
            "foo{a=\"b\" c}",
            "1:11: parse error: unexpected identifier \"c\" in label matching, expected \",\" or \"}\"",
        ),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("{x=\"\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("foo{__name__=\"bar\"}", "1:1: parse error: metric name must not be set twice: \"foo\" or \"bar\""),
        ("foo[5mm]", "1:5: parse error: bad number or duration syntax: \"5mm\""),
        ("foo[0m]", "1:5: parse error: duration must be greater than 0"),
        ("foo[\"5m\"]", "1:5: parse error: unexpected character in duration expression: '\"'"),
        (
            "foo[]",
            "1:5: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()",
        ),
        ("foo offset 5m offset 5m", "1:1: parse error: offset may not be set multiple times"),
        ("(foo + bar)[5m]", "1:12: parse error: ranges only allowed for vector selectors"),
        (
            "sum(foo) offset 1m",
            "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        ("foo @ start", "1:12: parse error: unexpected end of input in @, expected timestamp"),
        (
            "foo @ 1e100",
            "1:1: parse error: timestamp out of bounds for @ modifier: 10000000000000000159028911097599180468360808563945281389781327557747838772170381060813469985856815104.000000",
        ),
        ("sum(a) by b", "1:11: parse error: unexpected identifier \"b\" in grouping opts, expected \"(\""),
        ("sum(foo bar)", "1:9: parse error: unexpected identifier \"bar\" in aggregation"),
        ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
        (
            "topk(foo)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
        ),
        ("sum(1)", "1:5: parse error: expected type instant vector in aggregation expression, got scalar"),
        ("rates(foo)", "1:1: parse error: unknown function with name \"rates\""),
        (
            "rate(foo)",
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        ("rate(foo[5m], 1)", "1:1: parse error: expected 1 argument(s) in call to \"rate\", got 2"),
        ("floor()", "1:1: parse error: expected 1 argument(s) in call to \"floor\", got 0"),
        ("hour(foo, bar)", "1:1: parse error: expected at most 1 argument(s) in call to \"hour\", got 2"),
        ("floor(foo,)", "1:10: parse error: trailing commas not allowed in function call args"),
        ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("a + bool b", "1:3: parse error: bool modifier can only be used on comparison operators"),
        ("1 and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
        ("a and on(b) group_left(c) d", "1:1: parse error: no grouping allowed for \"and\" operation"),
        (
            "a + on(b) group_left(b) d",
            "1:3: parse error: label \"b\" must not occur in ON and GROUP clause at once",
        ),
        ("a * on(b) 5", "1:1: parse error: vector matching only allowed between instant vectors"),
        (
            "foo[5m] + 1",
            "1:1: parse error: binary expression must contain only scalar and instant vector types",
        ),
        (
            "-foo[5m]",
            "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"range vector\"",
        ),
        (
            "\"a\" + 1",
            "1:1: parse error: binary expression must contain only scalar and instant vector types",
        ),
        ("foo{a=~\"(\"}", "1:5: parse error: error parsing regexp: missing closing ): `(`"),
        ("\"\\q\"", "1:1: parse error: unknown escape sequence U+0071 'q'"),
        ("\"open", "1:1: parse error: unterminated quoted string"),
        ("a\n+\n  $", "3:3: parse error: unexpected character: '$'"),
        ("info(a, b)", "1:9: parse error: expected label selectors only, got vector selector instead"),
        (
            "foo anchored smoothed",
            "1:1: parse error: anchored and smoothed modifiers cannot be used together",
        ),
    ];
    for (query, message) in mistakes {
        assert_eq!(all(query).err().as_deref(), Some(message), "{query}");
    }
}

#[test]
fn what_is_experimental_has_to_be_switched_on() {
    let refused = [
        (
            "limitk(1, foo)",
            "1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
        ),
        ("info(foo)", "1:1: parse error: function \"info\" is not enabled"),
        ("foo[5m+1m]", "1:5: parse error: experimental duration expression is not enabled"),
        ("foo anchored", "1:1: parse error: anchored modifier is experimental and not enabled"),
        ("a + fill(0) b", "1:1: parse error: binop fill modifiers are experimental and not enabled"),
    ];
    for (query, message) in refused {
        assert_eq!(parse(query, ParserOptions::default()).unwrap_err().to_string(), message);
        assert!(all(query).is_ok(), "{query}");
    }
}

#[test]
fn trees_know_their_types_and_places() {
    let Ok(Expr::Binary(binary)) = all(" a * on (b) group_right (c) rate(d[5m] anchored)") else { panic!() };
    assert_eq!(binary.matching.as_ref().unwrap().cardinality, Cardinality::OneToMany);
    assert_eq!(binary.left.position(), Position::new(1, 2));
    assert_eq!(binary.right.position(), Position::new(28, 48));
    let Expr::Call(call) = &binary.right else { panic!() };
    let Expr::Matrix(matrix) = &call.args[0] else { panic!() };
    assert_eq!((matrix.selector.borders, matrix.range.millis()), (Borders::Anchored, 300_000));
    assert_eq!(call.args[0].value_type(), ValueType::Matrix);
    assert_eq!(all("1 + 2").unwrap().value_type(), ValueType::Scalar);
    // Signs bind less than powers, and more than sums.
    let Ok(Expr::Unary(_)) = all("-a ^ 2") else { panic!() };
    let Ok(Expr::Binary(_)) = all("-a + 2") else { panic!() };
}

#[test]
fn selectors_are_read_alone() {
    assert_eq!(parse_selector("foo{a!=\"b\"}").unwrap().len(), 2);
    assert_eq!(parse_selector("{a=\"b\"}").unwrap()[0].to_string(), "a=\"b\"");
    for broken in ["foo[5m]", "1", "sum(foo)", "foo offset 5m", ""] {
        assert!(parse_selector(broken).is_err(), "{broken}");
    }
}

#[test]
fn hostile_queries_are_refused_in_time() {
    let deep =
        |open: &str, close: &str, depth: usize| format!("{}a{}", open.repeat(depth), close.repeat(depth));
    let brackets = "[1m:1s]".repeat(100_000);
    let hostile = [
        deep("(", ")", 100_000),
        deep("-", "", 100_000),
        deep("abs(", ")", 100_000),
        deep("sum by (a) (", ")", 50_000),
        format!("a{}", "+a".repeat(100_000)),
        format!("a{}", "^a".repeat(100_000)),
        format!("a[{}1m]", "(".repeat(100_000)),
        format!("a[1{}]", "+1".repeat(100_000)),
        format!("a offset {}1m", "-".repeat(100_000)),
        format!("a{brackets}"),
        "a".repeat(MAX_LENGTH + 1),
        "(".repeat(MAX_LENGTH),
        "{".repeat(1000),
    ];
    for query in hostile {
        assert!(all(&query).is_err(), "{}…", &query[..20]);
    }
    assert!(all(&deep("(", ")", MAX_DEPTH - 10)).is_ok());
    assert!(all(&format!("a{}", "+a".repeat(MAX_HEIGHT - 10))).is_ok());
}
