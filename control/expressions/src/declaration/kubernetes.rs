//! The libraries that Kubernetes adds: its own and those of the reference implementation that it switches on.

use super::Declarations;
use crate::function::Function as F;

pub(super) fn declare(all: &mut Declarations) {
    strings(all);
    lists(all);
    networks(all);
    numbers(all);
    formats(all);
    authorization(all);
}

fn strings(all: &mut Declarations) {
    all.method("charAt", F::CharAt, &[("string_char_at_int", "string, int -> string")]);
    all.method(
        "indexOf",
        F::IndexOf,
        &[
            ("string_index_of_string", "string, string -> int"),
            ("string_index_of_string_int", "string, string, int -> int"),
            ("list_a_index_of_int", "list(A), A -> int"),
        ],
    );
    all.method(
        "lastIndexOf",
        F::LastIndexOf,
        &[
            ("string_last_index_of_string", "string, string -> int"),
            ("string_last_index_of_string_int", "string, string, int -> int"),
            ("list_a_last_index_of_int", "list(A), A -> int"),
        ],
    );
    all.method("lowerAscii", F::LowerAscii, &[("string_lower_ascii", "string -> string")]);
    all.method("upperAscii", F::UpperAscii, &[("string_upper_ascii", "string -> string")]);
    all.method("trim", F::Trim, &[("string_trim", "string -> string")]);
    all.method(
        "replace",
        F::Replace,
        &[
            ("string_replace_string_string", "string, string, string -> string"),
            ("string_replace_string_string_int", "string, string, string, int -> string"),
        ],
    );
    all.method(
        "split",
        F::Split,
        &[
            ("string_split_string", "string, string -> list(string)"),
            ("string_split_string_int", "string, string, int -> list(string)"),
        ],
    );
    all.method(
        "substring",
        F::Substring,
        &[
            ("string_substring_int", "string, int -> string"),
            ("string_substring_int_int", "string, int, int -> string"),
        ],
    );
    all.method("format", F::Format, &[("string_format", "string, list(dyn) -> string")]);
    all.call("strings.quote", F::Quote, &[("strings_quote", "string -> string")]);
    all.method(
        "join",
        F::Join,
        &[("list_join", "list(string) -> string"), ("list_join_string", "list(string), string -> string")],
    );
    all.method("find", F::Find, &[("string_find_string", "string, string -> string")]);
    all.method(
        "findAll",
        F::FindAll,
        &[
            ("string_find_all_string", "string, string -> list(string)"),
            ("string_find_all_string_int", "string, string, int -> list(string)"),
        ],
    );
}

/// What can be compared, with the names of the overloads that compare the elements of a list.
const COMPARABLE: [(&str, [&str; 3]); 8] = [
    ("int", ["list_int_is_sorted_bool", "list_int_max_int", "list_int_min_int"]),
    ("uint", ["list_uint_is_sorted_bool", "list_uint_max_uint", "list_uint_min_uint"]),
    ("double", ["list_double_is_sorted_bool", "list_double_max_double", "list_double_min_double"]),
    ("bool", ["list_bool_is_sorted_bool", "list_bool_max_bool", "list_bool_min_bool"]),
    (
        "duration",
        ["list_duration_is_sorted_bool", "list_duration_max_duration", "list_duration_min_duration"],
    ),
    (
        "timestamp",
        ["list_timestamp_is_sorted_bool", "list_timestamp_max_timestamp", "list_timestamp_min_timestamp"],
    ),
    ("string", ["list_string_is_sorted_bool", "list_string_max_string", "list_string_min_string"]),
    ("bytes", ["list_bytes_is_sorted_bool", "list_bytes_max_bytes", "list_bytes_min_bytes"]),
];

fn lists(all: &mut Declarations) {
    for (t, [is_sorted, max, min]) in COMPARABLE {
        all.method("isSorted", F::IsSorted, &[(is_sorted, &format!("list({t}) -> bool"))]);
        all.method("max", F::Max, &[(max, &format!("list({t}) -> {t}"))]);
        all.method("min", F::Min, &[(min, &format!("list({t}) -> {t}"))]);
        let (sort, sort_by) = match t {
            "string" | "bytes" => ("list_text_sort", "list_text_sortByAssociatedKeys"),
            _ => ("list_sort", "list_sortByAssociatedKeys"),
        };
        all.method("sort", F::Sort, &[(sort, &format!("list({t}) -> list({t})"))]);
        all.method(
            "@sortByAssociatedKeys",
            F::SortBy,
            &[(sort_by, &format!("list(T), list({t}) -> list(T)"))],
        );
    }
    for (t, id) in [
        ("int", "list_int_sum_int"),
        ("uint", "list_uint_sum_uint"),
        ("double", "list_double_sum_double"),
        ("duration", "list_duration_sum_duration"),
    ] {
        all.method("sum", F::Sum, &[(id, &format!("list({t}) -> {t}"))]);
    }
    all.method("slice", F::Slice, &[("list_slice", "list(T), int, int -> list(T)")]);
    all.method(
        "flatten",
        F::Flatten,
        &[("list_flatten", "list(list(T)) -> list(T)"), ("list_flatten_int", "list(dyn), int -> list(dyn)")],
    );
    all.call("lists.range", F::Range, &[("lists_range", "int -> list(int)")]);
    all.method("reverse", F::Reverse, &[("list_reverse", "list(T) -> list(T)")]);
    all.method("distinct", F::Distinct, &[("list_distinct", "list(T) -> list(T)")]);
    all.call("sets.contains", F::SetsContains, &[("list_sets_contains_list", "list(T), list(T) -> bool")]);
    all.call(
        "sets.equivalent",
        F::SetsEquivalent,
        &[("list_sets_equivalent_list", "list(T), list(T) -> bool")],
    );
    all.call(
        "sets.intersects",
        F::SetsIntersects,
        &[("list_sets_intersects_list", "list(T), list(T) -> bool")],
    );
}

fn networks(all: &mut Declarations) {
    const URL: &str = "kubernetes.URL";
    all.call("url", F::Url, &[("string_to_url", "string -> kubernetes.URL")]);
    all.call("isURL", F::IsUrl, &[("is_url_string", "string -> bool")]);
    for (name, function, id) in [
        ("getScheme", F::UrlScheme, "url_get_scheme"),
        ("getHost", F::UrlHost, "url_get_host"),
        ("getHostname", F::UrlHostname, "url_get_hostname"),
        ("getPort", F::UrlPort, "url_get_port"),
        ("getEscapedPath", F::UrlEscapedPath, "url_get_escaped_path"),
    ] {
        all.method(name, function, &[(id, &format!("{URL} -> string"))]);
    }
    all.method("getQuery", F::UrlQuery, &[("url_get_query", "kubernetes.URL -> map(string, list(string))")]);
    all.call("ip", F::Ip, &[("string_to_ip", "string -> net.IP")]);
    all.method("ip", F::Ip, &[("cidr_ip", "net.CIDR -> net.IP")]);
    all.call("isIP", F::IsIp, &[("is_ip", "string -> bool")]);
    all.call("ip.isCanonical", F::IpIsCanonical, &[("ip_is_canonical", "string -> bool")]);
    all.method("family", F::IpFamily, &[("ip_family", "net.IP -> int")]);
    for (name, function, id) in [
        ("isUnspecified", F::IpIsUnspecified, "ip_is_unspecified"),
        ("isLoopback", F::IpIsLoopback, "ip_is_loopback"),
        ("isLinkLocalMulticast", F::IpIsLinkLocalMulticast, "ip_is_link_local_multicast"),
        ("isLinkLocalUnicast", F::IpIsLinkLocalUnicast, "ip_is_link_local_unicast"),
        ("isGlobalUnicast", F::IpIsGlobalUnicast, "ip_is_global_unicast"),
    ] {
        all.method(name, function, &[(id, "net.IP -> bool")]);
    }
    all.call("cidr", F::Cidr, &[("string_to_cidr", "string -> net.CIDR")]);
    all.call("isCIDR", F::IsCidr, &[("is_cidr", "string -> bool")]);
    all.method(
        "containsIP",
        F::CidrContainsIp,
        &[
            ("cidr_contains_ip_string", "net.CIDR, string -> bool"),
            ("cidr_contains_ip_ip", "net.CIDR, net.IP -> bool"),
        ],
    );
    all.method(
        "containsCIDR",
        F::CidrContainsCidr,
        &[
            ("cidr_contains_cidr_string", "net.CIDR, string -> bool"),
            ("cidr_contains_cidr", "net.CIDR, net.CIDR -> bool"),
        ],
    );
    all.method("prefixLength", F::CidrPrefixLength, &[("cidr_prefix_length", "net.CIDR -> int")]);
    all.method("masked", F::CidrMasked, &[("cidr_masked", "net.CIDR -> net.CIDR")]);
}

fn numbers(all: &mut Declarations) {
    all.call("quantity", F::Quantity, &[("string_to_quantity", "string -> kubernetes.Quantity")]);
    all.call("isQuantity", F::IsQuantity, &[("is_quantity_string", "string -> bool")]);
    all.call("sign", F::QuantitySign, &[("quantity_sign", "kubernetes.Quantity -> int")]);
    for (name, function, result) in [
        ("isGreaterThan", F::IsGreaterThan, "bool"),
        ("isLessThan", F::IsLessThan, "bool"),
        ("compareTo", F::CompareTo, "int"),
    ] {
        let quantities = format!("kubernetes.Quantity, kubernetes.Quantity -> {result}");
        let semvers = format!("kubernetes.Semver, kubernetes.Semver -> {result}");
        all.method(name, function, &[("quantity_compare", &quantities), ("semver_compare", &semvers)]);
    }
    all.method(
        "asApproximateFloat",
        F::QuantityFloat,
        &[("quantity_get_float", "kubernetes.Quantity -> double")],
    );
    all.method("asInteger", F::QuantityInteger, &[("quantity_get_int", "kubernetes.Quantity -> int")]);
    all.method("isInteger", F::QuantityIsInteger, &[("quantity_is_integer", "kubernetes.Quantity -> bool")]);
    for (name, function, id, id_int) in [
        ("add", F::QuantityAdd, "quantity_add", "quantity_add_int"),
        ("sub", F::QuantitySub, "quantity_sub", "quantity_sub_int"),
    ] {
        all.method(
            name,
            function,
            &[
                (id, "kubernetes.Quantity, kubernetes.Quantity -> kubernetes.Quantity"),
                (id_int, "kubernetes.Quantity, int -> kubernetes.Quantity"),
            ],
        );
    }
    all.call(
        "semver",
        F::Semver,
        &[
            ("string_to_semver", "string -> kubernetes.Semver"),
            ("string_bool_to_semver", "string, bool -> kubernetes.Semver"),
        ],
    );
    all.call(
        "isSemver",
        F::IsSemver,
        &[("is_semver_string", "string -> bool"), ("is_semver_string_bool", "string, bool -> bool")],
    );
    for (name, function, id) in [
        ("major", F::SemverMajor, "semver_major"),
        ("minor", F::SemverMinor, "semver_minor"),
        ("patch", F::SemverPatch, "semver_patch"),
    ] {
        all.method(name, function, &[(id, "kubernetes.Semver -> int")]);
    }
}

fn formats(all: &mut Declarations) {
    all.call(
        "format.named",
        F::FormatNamed,
        &[("format-named", "string -> optional(kubernetes.NamedFormat)")],
    );
    all.method(
        "validate",
        F::FormatValidate,
        &[("format-validate", "kubernetes.NamedFormat, string -> optional(list(string))")],
    );
    for name in crate::library::format::NAMES {
        all.call(name, F::FormatConstant, &[(name, " -> kubernetes.NamedFormat")]);
    }
    all.call(
        "jsonpatch.escapeKey",
        F::EscapeKey,
        &[("string_jsonpatch_escapeKey_string", "string -> string")],
    );
}

fn authorization(all: &mut Declarations) {
    const A: &str = "kubernetes.authorization.";
    let from = |kind: &str, params: &str, result: &str| format!("{A}{kind}{params} -> {A}{result}");
    all.method(
        "path",
        F::AuthorizerPath,
        &[("authorizer_path", &from("Authorizer", ", string", "PathCheck"))],
    );
    all.method(
        "group",
        F::AuthorizerGroup,
        &[("authorizer_group", &from("Authorizer", ", string", "GroupCheck"))],
    );
    all.method(
        "serviceAccount",
        F::AuthorizerServiceAccount,
        &[("authorizer_serviceaccount", &from("Authorizer", ", string, string", "Authorizer"))],
    );
    all.method(
        "resource",
        F::CheckResource,
        &[("groupcheck_resource", &from("GroupCheck", ", string", "ResourceCheck"))],
    );
    for (name, function, id) in [
        ("subresource", F::CheckSubresource, "resourcecheck_subresource"),
        ("namespace", F::CheckNamespace, "resourcecheck_namespace"),
        ("name", F::CheckName, "resourcecheck_name"),
        ("fieldSelector", F::CheckFieldSelector, "authorizer_fieldselector"),
        ("labelSelector", F::CheckLabelSelector, "authorizer_labelselector"),
    ] {
        all.method(name, function, &[(id, &from("ResourceCheck", ", string", "ResourceCheck"))]);
    }
    all.method(
        "check",
        F::Check,
        &[
            ("pathcheck_check", &from("PathCheck", ", string", "Decision")),
            ("resourcecheck_check", &from("ResourceCheck", ", string", "Decision")),
        ],
    );
    for (name, function, result) in [
        ("allowed", F::DecisionAllowed, "bool"),
        ("errored", F::DecisionErrored, "bool"),
        ("error", F::DecisionError, "string"),
        ("reason", F::DecisionReason, "string"),
    ] {
        all.method(name, function, &[("decision", &format!("{A}Decision -> {result}"))]);
    }
}
