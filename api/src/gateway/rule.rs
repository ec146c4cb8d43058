//! The rules in CEL that more than one type keeps, or that are too long to stand at one: each an expression and what is
//! said where it does not hold.
//!
//! Upstream treats an empty text as one that is left out. So do these, although the formats refuse it too: what is wrong
//! is then told at the same fields.

use super::format::{domain, key_name, wildcard_domain};

/// An expression in CEL, and what is said where it does not hold.
pub(super) type Rule = (&'static str, &'static str);

/// Whether the references `a` and `b` name the same parent.
macro_rules! same_parent {
    () => {
        "a.group == b.group && a.kind == b.kind && a.name == b.name \
         && (has(a.__namespace__) ? a.__namespace__ : '') == (has(b.__namespace__) ? b.__namespace__ : '')"
    };
}

/// Whether the references `a` and `b` name the same target.
macro_rules! same_target {
    () => {
        "a.group == b.group && a.kind == b.kind && a.name == b.name"
    };
}

/// Whether the references `a` and `b` name the same part, or none.
macro_rules! same_section {
    () => {
        "(has(a.sectionName) ? a.sectionName : '') == (has(b.sectionName) ? b.sectionName : '')"
    };
}

/// That no reference names the whole of what another names a part of.
macro_rules! whole_or_parts {
    ($same:expr) => {
        concat!(
            "!self.exists(a, (!has(a.sectionName) || a.sectionName == '') && self.exists(b, \
             has(b.sectionName) && b.sectionName != '' && ",
            $same,
            "))"
        )
    };
}

/// That no two references name the same.
macro_rules! each_once {
    ($same:expr) => {
        concat!("self.all(a, self.filter(b, ", $same, " && ", same_section!(), ").size() == 1)")
    };
}

pub(super) const PARENTS_WITH_AND_WITHOUT_SECTION: Rule = (
    whole_or_parts!(same_parent!()),
    "a parent that is named more than once is named with a sectionName each time",
);
pub(super) const PARENTS_TWICE: Rule =
    (each_once!(same_parent!()), "no two parentRefs name the same parent and sectionName");
pub(super) const TARGETS_WITH_AND_WITHOUT_SECTION: Rule = (
    whole_or_parts!(same_target!()),
    "a target that is named more than once is named with a sectionName each time",
);
pub(super) const TARGETS_TWICE: Rule =
    (each_once!(same_target!()), "no two targetRefs name the same target and sectionName");

/// Certificate authorities: objects, or ones that are well known.
pub(super) const NOT_BOTH_AUTHORITIES: Rule = (
    "!has(self.caCertificateRefs) || self.caCertificateRefs.size() == 0 \
     || !has(self.wellKnownCACertificates) || self.wellKnownCACertificates == ''",
    "caCertificateRefs and wellKnownCACertificates exclude each other",
);
pub(super) const SOME_AUTHORITIES: Rule = (
    "(has(self.caCertificateRefs) ? self.caCertificateRefs.size() > 0 : false) \
     || (has(self.wellKnownCACertificates) ? self.wellKnownCACertificates != '' : false)",
    "one of caCertificateRefs and wellKnownCACertificates is needed",
);

/// The server names of TLSRoutes.
pub(super) const NO_ADDRESSES: Rule =
    ("!self.exists(one, isIP(one))", "server names are domain names, never IP addresses");
pub(super) const WILDCARD_DOMAINS: Rule = (
    concat!("self.all(one, one.matches(r'^", wildcard_domain!(), "$'))"),
    "server names are domain names (RFC 1123), of which the first label may be `*`",
);

/// The listeners of one object.
pub(super) const PLAIN_LISTENERS: Rule = (
    "!self.exists(one, has(one.tls) && one.protocol in ['HTTP', 'TCP', 'UDP'])",
    "`tls` is not for listeners of HTTP, TCP or UDP",
);
pub(super) const HTTPS_LISTENERS: Rule = (
    "!self.exists(one, one.protocol == 'HTTPS' && has(one.tls) && !(one.tls.mode in ['', 'Terminate']))",
    "a listener of HTTPS ends TLS: its mode is Terminate",
);
pub(super) const TLS_LISTENERS: Rule = (
    "!self.exists(one, one.protocol == 'TLS' && !(has(one.tls) && has(one.tls.mode) && one.tls.mode != ''))",
    "a listener of TLS says its mode",
);
pub(super) const NAMELESS_LISTENERS: Rule = (
    "!self.exists(one, one.protocol in ['TCP', 'UDP'] && has(one.hostname) && one.hostname != '')",
    "`hostname` is not for listeners of TCP or UDP",
);
pub(super) const LISTENER_NAMES: Rule =
    ("self.all(a, self.filter(b, b.name == a.name).size() == 1)", "no two listeners have one name");
pub(super) const LISTENER_PLACES: Rule = (
    "self.all(a, self.filter(b, b.port == a.port && b.protocol == a.protocol \
     && has(b.hostname) == has(a.hostname) && (!has(a.hostname) || b.hostname == a.hostname)).size() == 1)",
    "no two listeners have one port, protocol and hostname",
);
pub(super) const TLS_PORTS: Rule =
    ("self.all(a, self.filter(b, b.port == a.port).size() == 1)", "no port is named twice");

/// The addresses of Gateways.
pub(super) const IP_ADDRESSES: Rule = (
    "self.all(a, a.type != 'IPAddress' || !has(a.value) \
     || self.filter(b, b.type == 'IPAddress' && has(b.value) && b.value == a.value).size() == 1)",
    "no IP address is named twice",
);
pub(super) const HOSTNAME_ADDRESSES: Rule = (
    "self.all(a, a.type != 'Hostname' || !has(a.value) \
     || self.filter(b, b.type == 'Hostname' && has(b.value) && b.value == a.value).size() == 1)",
    "no hostname is named twice",
);
pub(super) const HOSTNAME_ADDRESS: Rule = (
    concat!(
        "self.type != 'Hostname' || !has(self.value) || self.value.matches(r'^",
        wildcard_domain!(),
        "$')"
    ),
    "an address of type Hostname is a domain name (RFC 1123), of which the first label may be `*`",
);

/// The keys of labels and annotations.
pub(super) const KEYS: Rule = (
    concat!("self.all(key, key.matches(r'^(", domain!(), "/)?", key_name!(), "$'))"),
    "a key is a name of at most 63 characters, perhaps behind a domain name and a slash",
);
pub(super) const KEY_PREFIXES: Rule =
    ("self.all(key, key.indexOf('/') < 253)", "the domain name in a key has at most 252 characters");

/// The rules of a route.
pub(super) const MATCHES: Rule = (
    "self.map(one, has(one.matches) ? one.matches.size() : 0).sum() <= 128",
    "the rules of a route have at most 128 matches together",
);
pub(super) const RULE_NAMES: Rule = (
    "self.all(a, !has(a.name) || self.filter(b, has(b.name) && b.name == a.name).size() == 1)",
    "no two rules have one name",
);

/// The filters of one rule or backend.
macro_rules! at_most_one {
    ($type:literal) => {
        (
            concat!("self.filter(one, one.type == '", $type, "').size() < 2"),
            concat!("there is at most one filter of type ", $type),
        )
    };
}

pub(super) const ONE_CORS: Rule = at_most_one!("CORS");
pub(super) const ONE_REQUEST_HEADER_MODIFIER: Rule = at_most_one!("RequestHeaderModifier");
pub(super) const ONE_RESPONSE_HEADER_MODIFIER: Rule = at_most_one!("ResponseHeaderModifier");
pub(super) const ONE_REDIRECT: Rule = at_most_one!("RequestRedirect");
pub(super) const ONE_REWRITE: Rule = at_most_one!("URLRewrite");
pub(super) const REDIRECT_OR_REWRITE: Rule = (
    "self.all(one, one.type != 'RequestRedirect') || self.all(one, one.type != 'URLRewrite')",
    "a request is redirected or rewritten, never both",
);
pub(super) const REDIRECT_OR_BACKENDS: Rule = (
    "!has(self.backendRefs) || self.backendRefs.size() == 0 || !has(self.filters) \
     || !self.filters.exists(one, has(one.requestRedirect))",
    "a request that is redirected goes to no backend",
);

/// That filters which replace a matched prefix stand in a rule that matches one.
macro_rules! prefix_matched {
    ($holder:literal, $filter:literal) => {
        concat!(
            "!(has(",
            $holder,
            ".filters) && ",
            $holder,
            ".filters.exists_one(one, has(one.",
            $filter,
            ") && has(one.",
            $filter,
            ".path) && one.",
            $filter,
            ".path.type == 'ReplacePrefixMatch' && has(one.",
            $filter,
            ".path.replacePrefixMatch)))"
        )
    };
}

/// That a rule has one match, of a prefix.
macro_rules! one_prefix {
    () => {
        "(self.matches.size() == 1 && has(self.matches[0].path) && self.matches[0].path.type == 'PathPrefix')"
    };
}

/// The same of the filters of one of the rule's backends.
macro_rules! prefix_matched_below {
    ($filter:literal) => {
        concat!(
            "!has(self.backendRefs) || !self.backendRefs.exists_one(backend, !(",
            prefix_matched!("backend", $filter),
            ")) || ",
            one_prefix!()
        )
    };
}

const ONE_PREFIX: &str =
    "replacePrefixMatch needs a rule with exactly one match, and that of type PathPrefix";

pub(super) const REDIRECT_OF_PREFIX: Rule =
    (concat!(prefix_matched!("self", "requestRedirect"), " || ", one_prefix!()), ONE_PREFIX);
pub(super) const REWRITE_OF_PREFIX: Rule =
    (concat!(prefix_matched!("self", "urlRewrite"), " || ", one_prefix!()), ONE_PREFIX);
pub(super) const REDIRECT_OF_PREFIX_BELOW: Rule = (prefix_matched_below!("requestRedirect"), ONE_PREFIX);
pub(super) const REWRITE_OF_PREFIX_BELOW: Rule = (prefix_matched_below!("urlRewrite"), ONE_PREFIX);

/// The paths of matches that are no expressions.
macro_rules! literal_path {
    ($holds:literal) => {
        concat!("self.type == 'RegularExpression' || ", $holds)
    };
}

pub(super) const PATH_FROM_ROOT: Rule =
    (literal_path!("self.value.startsWith('/')"), "a path begins with `/`");
pub(super) const PATH_WITHOUT_EMPTY_SEGMENTS: Rule =
    (literal_path!("!self.value.contains('//')"), "a path has no empty segments (`//`)");
pub(super) const PATH_WITHOUT_DOT_SEGMENTS: Rule =
    (literal_path!("!self.value.matches('/[.]{1,2}(/|$)')"), "a path has no segments `.` and `..`");
pub(super) const PATH_WITHOUT_ESCAPED_SLASHES: Rule =
    (literal_path!("!self.value.matches('%2[fF]')"), "a path has no escaped slashes (`%2F`)");
pub(super) const PATH_WITHOUT_FRAGMENT: Rule =
    (literal_path!("!self.value.contains('#')"), "a path has no fragment (`#`)");
pub(super) const PATH_CHARACTERS: Rule = (
    literal_path!("self.value.matches(r\"^([-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$\")"),
    "a path holds only what RFC 3986 allows in one",
);

/// Lists of which `*` stands for everything.
pub(super) const ALL_OR_SOME: Rule =
    ("self.size() < 2 || !self.exists(one, one == '*')", "beside `*` nothing more can be named");

/// The methods of gRPC.
pub(super) const SERVICE_OR_METHOD: Rule =
    ("has(self.service) || has(self.method)", "a service, a method or both are named");
pub(super) const EXACT_SERVICE: Rule = (
    "self.type != 'Exact' || !has(self.service) \
     || self.service.matches('(?i)^[.]?[a-z_][a-z_0-9]*([.][a-z_][a-z_0-9]*)*$')",
    "a service's name is made of identifiers with dots between them",
);
pub(super) const EXACT_METHOD: Rule = (
    "self.type != 'Exact' || !has(self.method) || self.method.matches('^[A-Za-z_][A-Za-z_0-9]*$')",
    "a method's name is an identifier",
);
