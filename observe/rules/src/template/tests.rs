//! Cases of upstream's, and what is bounded.

use super::*;

fn sample(value: f64, labels: &[(&str, &str)]) -> VectorSample {
    let labels = labels.iter().map(|(name, value)| xebec_promql::labels::Label::new(*name, *value));
    VectorSample { labels: Labels::new(labels), value, histogram: None }
}

fn expand_with(text: &str, found: &[VectorSample]) -> Result<String, String> {
    let template =
        Template::parse("test", text).map_err(|why| format!("error parsing template test: {why}"))?;
    let mut query = |_: &str| Ok(found.to_vec());
    let mut surroundings = Surroundings {
        query: &mut query,
        external_url: "http://testhost:9090/path/prefix",
        time: 1_353_755_652_000,
    };
    template.expand(&Data::default(), &mut surroundings)
}

fn expand(text: &str) -> Result<String, String> {
    expand_with(text, &[])
}

#[test]
fn functions_do_what_upstream_says() {
    for (text, expected) in [
        ("{{ 1 }}", "1"),
        (r#"{{define "x"}}{{.arg0}} {{.arg1}}{{end}}{{template "x" (args 1 "2")}}"#, "1 2"),
        (r#"{{ "foo.example.com:12345" | stripPort }}"#, "foo.example.com"),
        (r#"{{ "[2001:0DB8::1]:12345" | stripPort }}"#, "2001:0DB8::1"),
        (r#"{{ "[2001:0DB8::1]::12345" | stripPort }}"#, "[2001:0DB8::1]::12345"),
        (r#"{{ "foo.example.com:12345" | stripDomain }}"#, "foo:12345"),
        (r#"{{ "192.0.2.1:12345" | stripDomain }}"#, "192.0.2.1:12345"),
        ("{{ .Foo }}", "<no value>"),
        (r#"{{ reReplaceAll "(a)b" "x$1" "ab" }}"#, "xa"),
        (
            "{{ humanize 0.0 }}:{{ humanize 1.0 }}:{{ humanize 1234567.0 }}:{{ humanize .12 }}",
            "0:1:1.235M:120m",
        ),
        ("{{ humanize 9223372036854775807 }}", "9.223E"),
        ("{{ humanize1024 1048576.0 }}:{{ humanize1024 .12 }}", "1Mi:0.12"),
        ("{{ humanizeDuration 86400 }}:{{ humanizeDuration -183845 }}", "1d 0h 0m 0s:-2d 3h 4m 5s"),
        (
            "{{ humanizeDuration .0001 }}:{{ humanizeDuration 60.5 }}:{{ humanizeDuration 12.345 }}",
            "100us:1m 0s:12.35s",
        ),
        (r#"{{ humanize "+Inf" }}:{{ humanizeTimestamp "NaN" }}"#, "+Inf:NaN"),
        ("{{ -0.22222 | humanizePercentage }}:{{ 1.23456 | humanizePercentage }}", "-22.22%:123.5%"),
        ("{{ humanizePercentage 1234567 }}", "1.235e+08%"),
        ("{{ 1435065584.128 | humanizeTimestamp }}", "2015-06-23 13:19:44.128 +0000 UTC"),
        (r#"{{ (1435065584.128 | toTime).Format "2006" }}"#, "2015"),
        ("{{ (1800 | toDuration).String }}", "30m0s"),
        ("{{ now }}", "1.353755652e+09"),
        (r#"{{ (now | toTime).Format "Mon Jan 2 15:04:05 2006" }}"#, "Sat Nov 24 11:14:12 2012"),
        (r#"{{ ("-30m" | parseDuration | toDuration | (now | toTime).Add).UnixMilli }}"#, "1353753852000"),
        (r#"{{ "aa bb CC" | title }}{{ "a" | toUpper }}{{ "B" | toLower }}"#, "Aa Bb CCAb"),
        (r#"{{ match "a+" "aa" }} {{ match "a+" "b" }}"#, "true false"),
        (
            r#"{{ graphLink "up" }} {{ tableLink "a b" }}"#,
            "/graph?g0.expr=up&g0.tab=0 /graph?g0.expr=a+b&g0.tab=1",
        ),
        ("{{ pathPrefix }} {{ externalURL }}", "/path/prefix http://testhost:9090/path/prefix"),
        (r#"{{ printf "%0.2f" (parseDuration "-1h2m10ms") }}"#, "-3720.01"),
        (
            r#"{{ printf "%5d|%-5s|%05.1f|%x|%q|%v" 42 "a" 3.14159 255 "q" 1e21 }}"#,
            "   42|a    |003.1|ff|\"q\"|1e+21",
        ),
        (r#"{{ printf "%d %s" "a" 1 2 }}"#, "%!d(string=a) %!s(int=1)%!(EXTRA int=2)"),
        ("{{- 1 -}} \n x {{- /* c */ -}} y", "1xy"),
        ("{{ if and 1 (eq 1 2) }}a{{ else if lt 1.5 2.5 }}b{{ else }}c{{ end }}", "b"),
        (
            "{{ range $i := 5 }}{{ if eq $i 1 }}{{ continue }}{{ end }}{{ if gt $i 3 }}{{ break }}{{ end }}{{ $i }}{{ end }}",
            "023",
        ),
        (r#"{{ $x := 1 }}{{ with "a" }}{{ $x = 2 }}{{ . }}{{ end }}{{ $x }}{{ len "four" }}"#, "a24"),
        (
            r#"{{ index (args "a" 2) "arg1" }}{{ slice "abcd" 1 3 }}{{ html "<" }}{{ urlquery "a b" }}"#,
            "2bc&lt;a+b",
        ),
        (r#"{{ print "a" 1 2 "b" 3.5 }}|{{ not true }}"#, "a1 2b3.5|false"),
    ] {
        assert_eq!(expand(text), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn queries_are_asked() {
    let found =
        [sample(21.0, &[("__name__", "metric"), ("instance", "b")]), sample(11.0, &[("instance", "a")])];
    for (text, expected) in [
        (r#"{{ query "1.5" | first | value }}"#, "21"),
        (r#"{{ query "metric" | first | label "instance" }}{{ query "m" | first | label "foo" }}"#, "b"),
        (r#"{{ $x := query "metric" | first }}{{ $x.Labels.foo }}{{ $x.Labels.instance }}"#, "b"),
        (
            r#"{{ range query "metric" | sortByLabel "instance" }}{{.Labels.instance}}:{{.Value}}: {{end}}"#,
            "a:11: b:21: ",
        ),
        (r#"{{ range $i, $s := query "metric" }}{{ $i }}{{ $s.Value | humanize }}{{ end }}"#, "021111"),
    ] {
        assert_eq!(expand_with(text, &found), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn what_is_wrong_is_told_in_upstreams_words() {
    for (text, expected) in [
        (
            "{{\u{a0}}}",
            "error parsing template test: template: test:1: unrecognized character in action: U+00A0",
        ),
        ("{{", "error parsing template test: template: test:1: unclosed action"),
        ("{{ $label.foo }}", "error parsing template test: template: test:1: undefined variable \"$label\""),
        ("{{ nope 1 }}", "error parsing template test: template: test:1: function \"nope\" not defined"),
        ("{{ if }}{{ end }}", "error parsing template test: template: test:1: missing value for if"),
        ("{{ range 1 }}", "error parsing template test: template: test:1: unexpected EOF"),
        ("a\n{{ end }}", "error parsing template test: template: test:2: unexpected {{end}}"),
        (
            "{{ query \"missing\" | first }}",
            "error executing template test: template: test:1:21: executing \"test\" at <first>: error calling first: \
             first() called on vector with no elements",
        ),
        (
            "{{ (query \"missing\").banana }}",
            "error executing template test: template: test:1:10: executing \"test\" at <\"missing\">: can't evaluate \
             field banana in type template.queryResult",
        ),
        (
            "{{ humanize \"one\" }}",
            "error executing template test: template: test:1:3: executing \"test\" at <humanize \"one\">: error calling \
             humanize: strconv.ParseFloat: parsing \"one\": invalid syntax",
        ),
        (
            "{{ -9223372036854775808 | humanizeTimestamp }}",
            "error executing template test: template: test:1:26: executing \"test\" at <humanizeTimestamp>: error \
             calling humanizeTimestamp: -9.223372036854776e+18 cannot be represented as a nanoseconds timestamp \
             since it overflows int64",
        ),
        (
            "{{ toUpper 1 }}",
            "error executing template test: template: test:1:11: executing \"test\" at <1>: expected string; found 1",
        ),
        (
            "{{ 1.5 | toUpper }}",
            "error executing template test: template: test:1:9: executing \"test\" at <toUpper>: wrong type for \
             value; expected string; got float64",
        ),
    ] {
        assert_eq!(expand(text), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn hostile_templates_come_to_an_end() {
    let endless = r#"{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}"#;
    assert!(expand(endless).unwrap_err().contains("exceeded maximum template depth"));
    assert!(expand("{{ range 9000000000 }}{{ end }}").unwrap_err().contains("steps"));
    let nested = "{{ range 10000 }}{{ range 10000 }}{{ range 10000 }}x{{ end }}{{ end }}{{ end }}";
    assert!(expand(nested).is_err());
    let long = format!("{{{{ range 900000 }}}}{}{{{{ end }}}}", "y".repeat(100));
    assert!(expand(&long).unwrap_err().contains("writes over"));
    let doubled = r#"{{ $x := "aaaaaaaaaa" }}{{ range 100 }}{{ $x = print $x $x }}{{ end }}"#;
    assert!(expand(doubled).unwrap_err().contains("bytes of text"));
    let replaced =
        r#"{{ $x := "aaaaaaaaaa" }}{{ range 100 }}{{ $x = reReplaceAll "a" "aaaaaaaaaa" $x }}{{ end }}"#;
    assert!(expand(replaced).unwrap_err().contains("bytes of text"));
    assert!(expand(r#"{{ range 5000 }}{{ $x := query "up" }}{{ end }}"#).unwrap_err().contains("queries"));
    assert!(Template::parse("t", &"(".repeat(50)).is_ok());
    assert!(
        Template::parse("t", &format!("{{{{ {} }}}}", "(".repeat(50_000))).unwrap_err().contains("depth")
    );
    assert!(Template::parse("t", &"{{ if 1 }}".repeat(50_000)).unwrap_err().contains("depth"));
    assert!(Template::parse("t", &"{{ if 1 }}{{ else }}".repeat(50_000)).is_err());
    let chained = format!("{{{{ if 0 }}}}{}{{{{ end }}}}", "{{ else if 0 }}".repeat(50_000));
    assert!(Template::parse("t", &chained).unwrap_err().contains("depth"));
    assert!(Template::parse("t", &"x".repeat(MOST_BYTES + 1)).is_err());
    assert_eq!(expand(r#"{{ printf "%1000000000d" 1 }}"#).unwrap().len(), 1);
}
