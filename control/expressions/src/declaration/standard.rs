//! The operators and functions of the language itself, and its optional values.

use super::Declarations;
use crate::function::Function as F;
use crate::syntax::operator;
use crate::timestamp::Part;

pub(super) fn declare(all: &mut Declarations) {
    operators(all);
    comparisons(all);
    conversions(all);
    functions(all);
    times(all);
    optionals(all);
}

fn operators(all: &mut Declarations) {
    all.call(operator::CONDITIONAL, F::Conditional, &[("conditional", "bool, A, A -> A")]);
    all.call(operator::AND, F::And, &[("logical_and", "bool, bool -> bool")]);
    all.call(operator::OR, F::Or, &[("logical_or", "bool, bool -> bool")]);
    all.call(operator::NOT, F::Not, &[("logical_not", "bool -> bool")]);
    all.call(operator::NOT_STRICTLY_FALSE, F::NotStrictlyFalse, &[("not_strictly_false", "bool -> bool")]);
    all.call(operator::EQUALS, F::Equals, &[("equals", "A, A -> bool")]);
    all.call(operator::NOT_EQUALS, F::NotEquals, &[("not_equals", "A, A -> bool")]);
    all.call(
        operator::ADD,
        F::Add,
        &[
            ("add_bytes", "bytes, bytes -> bytes"),
            ("add_double", "double, double -> double"),
            ("add_duration_duration", "duration, duration -> duration"),
            ("add_duration_timestamp", "duration, timestamp -> timestamp"),
            ("add_timestamp_duration", "timestamp, duration -> timestamp"),
            ("add_int64", "int, int -> int"),
            ("add_list", "list(A), list(A) -> list(A)"),
            ("add_string", "string, string -> string"),
            ("add_uint64", "uint, uint -> uint"),
        ],
    );
    all.call(
        operator::SUBTRACT,
        F::Subtract,
        &[
            ("subtract_double", "double, double -> double"),
            ("subtract_duration_duration", "duration, duration -> duration"),
            ("subtract_int64", "int, int -> int"),
            ("subtract_timestamp_duration", "timestamp, duration -> timestamp"),
            ("subtract_timestamp_timestamp", "timestamp, timestamp -> duration"),
            ("subtract_uint64", "uint, uint -> uint"),
        ],
    );
    all.call(
        operator::MULTIPLY,
        F::Multiply,
        &[
            ("multiply_double", "double, double -> double"),
            ("multiply_int64", "int, int -> int"),
            ("multiply_uint64", "uint, uint -> uint"),
        ],
    );
    all.call(
        operator::DIVIDE,
        F::Divide,
        &[
            ("divide_double", "double, double -> double"),
            ("divide_int64", "int, int -> int"),
            ("divide_uint64", "uint, uint -> uint"),
        ],
    );
    all.call(
        operator::MODULO,
        F::Modulo,
        &[("modulo_int64", "int, int -> int"), ("modulo_uint64", "uint, uint -> uint")],
    );
    all.call(
        operator::NEGATE,
        F::Negate,
        &[("negate_double", "double -> double"), ("negate_int64", "int -> int")],
    );
    all.call(
        operator::INDEX,
        F::Index,
        &[
            ("index_list", "list(A), int -> A"),
            ("index_map", "map(A, B), A -> B"),
            ("optional_list_index_int", "optional(list(V)), int -> optional(V)"),
            ("optional_map_index_value", "optional(map(K, V)), K -> optional(V)"),
        ],
    );
    all.call(operator::IN, F::In, &[("in_list", "A, list(A) -> bool"), ("in_map", "A, map(A, B) -> bool")]);
}

/// The pairs of types that can be ordered, with the suffix of the overload's name.
const ORDERED: [(&str, &str); 14] = [
    ("bool", "bool, bool"),
    ("int64", "int, int"),
    ("int64_double", "int, double"),
    ("int64_uint64", "int, uint"),
    ("uint64", "uint, uint"),
    ("uint64_double", "uint, double"),
    ("uint64_int64", "uint, int"),
    ("double", "double, double"),
    ("double_int64", "double, int"),
    ("double_uint64", "double, uint"),
    ("string", "string, string"),
    ("bytes", "bytes, bytes"),
    ("timestamp", "timestamp, timestamp"),
    ("duration", "duration, duration"),
];

fn comparisons(all: &mut Declarations) {
    for (operator, function, strings, bytes) in [
        (operator::LESS, F::Less, "less_string", "less_bytes"),
        (operator::LESS_EQUALS, F::LessEquals, "less_equals_string", "less_equals_bytes"),
        (operator::GREATER, F::Greater, "greater_string", "greater_bytes"),
        (operator::GREATER_EQUALS, F::GreaterEquals, "greater_equals_string", "greater_equals_bytes"),
    ] {
        for (suffix, params) in ORDERED {
            // Only text has a cost of its own, so only it needs a name of its own.
            let id = match suffix {
                "string" => strings,
                "bytes" => bytes,
                _ => suffix,
            };
            all.call(operator, function, &[(id, &format!("{params} -> bool"))]);
        }
    }
}

fn conversions(all: &mut Declarations) {
    all.call("type", F::TypeOf, &[("type", "A -> type(A)")]);
    all.call("dyn", F::Dyn, &[("to_dyn", "A -> dyn")]);
    all.call("bool", F::ToBool, &[("bool_to_bool", "bool -> bool"), ("string_to_bool", "string -> bool")]);
    all.call(
        "bytes",
        F::ToBytes,
        &[("bytes_to_bytes", "bytes -> bytes"), ("string_to_bytes", "string -> bytes")],
    );
    all.call(
        "double",
        F::ToDouble,
        &[
            ("double_to_double", "double -> double"),
            ("int64_to_double", "int -> double"),
            ("string_to_double", "string -> double"),
            ("uint64_to_double", "uint -> double"),
        ],
    );
    all.call(
        "duration",
        F::ToDuration,
        &[
            ("duration_to_duration", "duration -> duration"),
            ("int64_to_duration", "int -> duration"),
            ("string_to_duration", "string -> duration"),
        ],
    );
    all.call(
        "int",
        F::ToInt,
        &[
            ("int64_to_int64", "int -> int"),
            ("double_to_int64", "double -> int"),
            ("duration_to_int64", "duration -> int"),
            ("string_to_int64", "string -> int"),
            ("timestamp_to_int64", "timestamp -> int"),
            ("uint64_to_int64", "uint -> int"),
        ],
    );
    all.call(
        "string",
        F::ToString,
        &[
            ("string_to_string", "string -> string"),
            ("bool_to_string", "bool -> string"),
            ("bytes_to_string", "bytes -> string"),
            ("double_to_string", "double -> string"),
            ("duration_to_string", "duration -> string"),
            ("int64_to_string", "int -> string"),
            ("timestamp_to_string", "timestamp -> string"),
            ("uint64_to_string", "uint -> string"),
            ("ip_to_string", "net.IP -> string"),
            ("cidr_to_string", "net.CIDR -> string"),
        ],
    );
    all.call(
        "timestamp",
        F::ToTimestamp,
        &[
            ("timestamp_to_timestamp", "timestamp -> timestamp"),
            ("int64_to_timestamp", "int -> timestamp"),
            ("string_to_timestamp", "string -> timestamp"),
        ],
    );
    all.call(
        "uint",
        F::ToUint,
        &[
            ("uint64_to_uint64", "uint -> uint"),
            ("double_to_uint64", "double -> uint"),
            ("int64_to_uint64", "int -> uint"),
            ("string_to_uint64", "string -> uint"),
        ],
    );
}

fn functions(all: &mut Declarations) {
    const SIZES: [(&str, &str); 4] = [
        ("size_bytes", "bytes -> int"),
        ("size_list", "list(A) -> int"),
        ("size_map", "map(A, B) -> int"),
        ("size_string", "string -> int"),
    ];
    all.call("size", F::Size, &SIZES);
    all.method("size", F::Size, &SIZES);
    all.method("contains", F::Contains, &[("contains_string", "string, string -> bool")]);
    all.method("endsWith", F::EndsWith, &[("ends_with_string", "string, string -> bool")]);
    all.method("startsWith", F::StartsWith, &[("starts_with_string", "string, string -> bool")]);
    all.call("matches", F::Matches, &[("matches", "string, string -> bool")]);
    all.method("matches", F::Matches, &[("matches_string", "string, string -> bool")]);
    all.call(
        "cel.@mapInsert",
        F::MapInsert,
        &[
            ("@mapInsert_map_key_value", "map(K, V), K, V -> map(K, V)"),
            ("@mapInsert_map_map", "map(K, V), map(K, V) -> map(K, V)"),
        ],
    );
}

fn times(all: &mut Declarations) {
    for (name, part) in [
        ("getFullYear", Part::FullYear),
        ("getMonth", Part::Month),
        ("getDayOfYear", Part::DayOfYear),
        ("getDayOfMonth", Part::DayOfMonth),
        ("getDate", Part::Date),
        ("getDayOfWeek", Part::DayOfWeek),
        ("getHours", Part::Hours),
        ("getMinutes", Part::Minutes),
        ("getSeconds", Part::Seconds),
        ("getMilliseconds", Part::Milliseconds),
    ] {
        all.method(
            name,
            F::TimePart(part),
            &[("timestamp", "timestamp -> int"), ("timestamp_with_tz", "timestamp, string -> int")],
        );
        if part.nanoseconds().is_some() {
            all.method(name, F::TimePart(part), &[("duration", "duration -> int")]);
        }
    }
}

fn optionals(all: &mut Declarations) {
    all.call("optional.of", F::OptionalOf, &[("optional_of", "V -> optional(V)")]);
    all.call(
        "optional.ofNonZeroValue",
        F::OptionalOfNonZero,
        &[("optional_ofNonZeroValue", "V -> optional(V)")],
    );
    all.call("optional.none", F::OptionalNone, &[("optional_none", " -> optional(V)")]);
    all.method("value", F::OptionalValue, &[("optional_value", "optional(V) -> V")]);
    all.method("hasValue", F::OptionalHasValue, &[("optional_hasValue", "optional(V) -> bool")]);
    all.method("or", F::OptionalOr, &[("optional_or_optional", "optional(V), optional(V) -> optional(V)")]);
    all.method("orValue", F::OptionalOrValue, &[("optional_orValue_value", "optional(V), V -> V")]);
    all.call(
        operator::OPTIONAL_SELECT,
        F::OptionalSelect,
        &[("select_optional_field", "dyn, string -> optional(V)")],
    );
    all.call(
        operator::OPTIONAL_INDEX,
        F::OptionalIndex,
        &[
            ("list_optindex_optional_int", "list(V), int -> optional(V)"),
            ("optional_list_optindex_optional_int", "optional(list(V)), int -> optional(V)"),
            ("map_optindex_optional_value", "map(K, V), K -> optional(V)"),
            ("optional_map_optindex_optional_value", "optional(map(K, V)), K -> optional(V)"),
        ],
    );
    all.method("first", F::First, &[("list_first", "list(V) -> optional(V)")]);
    all.method("last", F::Last, &[("list_last", "list(V) -> optional(V)")]);
    all.call("optional.unwrap", F::OptionalUnwrap, &[("optional_unwrap", "list(optional(V)) -> list(V)")]);
    all.method("unwrapOpt", F::OptionalUnwrap, &[("optional_unwrapOpt", "list(optional(V)) -> list(V)")]);
}
