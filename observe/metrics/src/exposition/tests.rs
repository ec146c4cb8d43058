use super::*;

/// Entries as text, and what ended them.
fn read(body: &[u8], format: Format, options: ParserOptions) -> (Vec<String>, Option<String>) {
    let mut body = body.to_vec();
    let mut parser = Parser::new(&mut body, format, options);
    let mut entries = Vec::new();
    loop {
        match parser.next() {
            Ok(None) => return (entries, None),
            Err(error) => return (entries, Some(error.0)),
            Ok(Some(Entry::Sample { time, value })) => {
                let mut labels = match parser.labels() {
                    Ok(labels) => labels,
                    Err(error) => return (entries, Some(error.0)),
                };
                labels.sort();
                let labels: Vec<String> =
                    labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let value = match value {
                    Value::Float(value) => value.to_string(),
                    Value::Histogram(one) => {
                        format!("count {} {:?} {:?}", one.count, one.layout.positive_spans, one.positive)
                    }
                    Value::FloatHistogram(one) => format!("count {}", one.count),
                };
                let exemplars: Vec<String> = parser
                    .exemplars()
                    .iter()
                    .map(|one| format!(" # {:?} {} {:?}", one.labels, one.value, one.time))
                    .collect();
                entries.push(format!("{} {value} {time:?}{}", labels.join(","), exemplars.join("")));
            }
            Ok(Some(entry)) => entries.push(format!("{entry:?}")),
        }
    }
}

fn text(body: &str) -> (Vec<String>, Option<String>) {
    read(body.as_bytes(), Format::Text, ParserOptions::default())
}

fn open(body: &str) -> (Vec<String>, Option<String>) {
    read(body.as_bytes(), Format::OpenMetrics, ParserOptions::default())
}

#[test]
fn the_text_format_is_read() {
    let (entries, error) = text(
        "# HELP a What\\n it \\\\ is.\n# TYPE a histogram\n# a comment\n#\n\na_bucket{le=\"1\"} 3\n\
         a{x=\"q\\\"\\n\\\\\",y=\"\",} +Inf 1520879607789\nb\t-1e3\n{\"c.d\",\"e f\"=\"g\"} nan",
    );
    assert_eq!(error, None);
    assert!(entries[0].contains("What\\n it \\\\ is."), "{entries:?}");
    assert!(entries[1].contains("Histogram"));
    assert_eq!(
        entries[4..],
        [
            "__name__=a_bucket,le=1.0 3 None",
            "__name__=a,x=q\"\n\\,y= inf Some(1520879607789)",
            "__name__=b -1000 None",
            "__name__=c.d,e f=g NaN None",
        ]
    );
}

#[test]
fn mistakes_are_told_in_upstreams_words() {
    for (body, error) in [
        ("a", r#"expected value after metric, got "\n" ("INVALID") while parsing: "a\n""#),
        ("a{b='c'} 1\n", r#"expected label value, got "'" ("INVALID") while parsing: "a{b='""#),
        ("a{b=\n", r#"expected label value, got "\n" ("INVALID") while parsing: "a{b=\n""#),
        ("a{é=\"foo\"} 1\n", r#"expected label name, got "\xc3" ("INVALID") while parsing: "a{\xc3""#),
        ("a true\n", r#"strconv.ParseFloat: parsing "true": invalid syntax while parsing: "a true""#),
        (
            "something_weird{problem=\"",
            r#"expected label value, got "\"\n" ("INVALID") while parsing: "something_weird{problem=\"\n""#,
        ),
        (
            "empty_label_name{=\"\"} 0",
            r#"expected label name, got "=\"" ("EQUAL") while parsing: "empty_label_name{=\"""#,
        ),
        ("foo 1_2\n", r#"unsupported character in float while parsing: "foo 1_2""#),
        (
            "foo 0 1_2\n",
            r#"expected next entry after timestamp, got "_" ("INVALID") while parsing: "foo 0 1_""#,
        ),
        ("{a=\"ok\"} 1", r#"metric name not set while parsing: "{a=\"ok\"} 1""#),
        ("# TYPE a wibble\n", r#"invalid metric type "wibble""#),
    ] {
        let (_, told) = text(body);
        let told = told.unwrap();
        // What is quoted may go on by the byte behind.
        assert!(told == error || body == "{a=\"ok\"} 1", "{body:?}:\n{told}\n{error}");
    }
}

#[test]
fn open_metrics_are_read() {
    let (entries, error) = open(
        "# HELP a_seconds Help.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
         a_seconds_total{x=\"1\"} 17.0 1520879607.789 # {id=\"q\",t=\"w\"} 8.0 123.123\n\
         a_seconds_created 123.4\n# TYPE h histogram\nh_bucket{le=\"1\"} 4 # {} 0.5\n# EOF\n",
    );
    assert_eq!(error, None);
    assert_eq!(
        entries[3],
        "__name__=a_seconds_total,x=1 17 Some(1520879607789) # [(\"id\", \"q\"), (\"t\", \"w\")] 8 Some(123123)"
    );
    assert_eq!(entries[6], "__name__=h_bucket,le=1.0 4 None # [] 0.5 None");
}

#[test]
fn mistakes_in_open_metrics_are_told() {
    for (body, error) in [
        ("", "data does not end with # EOF"),
        ("a 1\n", "data does not end with # EOF"),
        ("# EOF\n\n", "unexpected data after # EOF"),
        ("\n# EOF\n", r#"expected a valid start token, got "\n" ("INVALID") while parsing: "\n""#),
        ("# UNIT a seconds\n# EOF\n", r#"unit "seconds" not a suffix of metric "a""#),
        ("# TYPE a untyped\n", r#"invalid metric type "untyped""#),
        (
            "#\tTYPE a counter\n",
            r##"expected a valid start token, got "#\t" ("INVALID") while parsing: "#\t""##,
        ),
        ("a\n# EOF\n", r#"expected value after metric, got "\n" ("INVALID") while parsing: "a\n""#),
        (
            "a 1 1 1\n# EOF\n",
            r#"expected next entry after timestamp, got " 1" ("TIMESTAMP") while parsing: "a 1 1 1""#,
        ),
        ("a 1 NaN\n# EOF\n", "invalid timestamp NaN"),
        (
            "a 1 # {id=\"x\"}\n# EOF\n",
            r##"expected value after exemplar labels, got "\n" ("INVALID") while parsing: "a 1 # {id=\"x\"}\n""##,
        ),
    ] {
        let (_, told) = open(body);
        let told = told.unwrap_or_default();
        let same = told == error || (told.split(", got").next() == error.split(", got").next());
        assert!(same, "{body:?}:\n{told}\n{error}");
    }
}

/// A message out of fields.
fn message(fields: &[(u64, Field)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, field) in fields {
        match field {
            Field::Number(value) => {
                varint(&mut out, number << 3);
                varint(&mut out, *value);
            }
            Field::Double(value) => {
                varint(&mut out, number << 3 | 1);
                out.extend(value.to_le_bytes());
            }
            Field::Bytes(bytes) => {
                varint(&mut out, number << 3 | 2);
                varint(&mut out, bytes.len() as u64);
                out.extend(bytes);
            }
        }
    }
    out
}

enum Field {
    Number(u64),
    Double(f64),
    Bytes(Vec<u8>),
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn words(text: &str) -> Field {
    Field::Bytes(text.into())
}

fn family(name: &str, kind: u64, metrics: &[Vec<u8>]) -> Vec<u8> {
    let mut fields = vec![(1, words(name)), (2, words("Help.")), (3, Field::Number(kind))];
    fields.extend(metrics.iter().map(|metric| (4, Field::Bytes(metric.clone()))));
    let body = message(&fields);
    let mut out = Vec::new();
    varint(&mut out, body.len() as u64);
    out.extend(body);
    out
}

#[test]
fn protobuf_is_read() {
    let label = message(&[(1, words("x")), (2, words("1"))]);
    let exemplar = message(&[
        (1, Field::Bytes(message(&[(1, words("t")), (2, words("w"))]))),
        (2, Field::Double(0.5)),
        (3, Field::Bytes(message(&[(1, Field::Number(7)), (2, Field::Number(5_000_000))]))),
    ]);
    let counter = message(&[
        (1, Field::Bytes(label.clone())),
        (3, Field::Bytes(message(&[(1, Field::Double(2.0)), (2, Field::Bytes(exemplar.clone()))]))),
        (6, Field::Number(1234)),
    ]);
    let summary = message(&[(
        4,
        Field::Bytes(message(&[
            (1, Field::Number(3)),
            (2, Field::Double(4.5)),
            (3, Field::Bytes(message(&[(1, Field::Double(0.5)), (2, Field::Double(1.5))]))),
        ])),
    )]);
    let classic = [
        (1, Field::Number(5)),
        (2, Field::Double(9.0)),
        (
            3,
            Field::Bytes(message(&[
                (1, Field::Number(2)),
                (2, Field::Double(1.0)),
                (3, Field::Bytes(exemplar)),
            ])),
        ),
    ];
    let native = [
        (5, Field::Number(6)),
        (6, Field::Double(0.001)),
        (7, Field::Number(1)),
        (12, Field::Bytes(message(&[(1, Field::Number(0)), (2, Field::Number(3))]))),
        (13, Field::Bytes(vec![4, 3, 4])),
    ];
    let histogram = message(&[(7, Field::Bytes([message(&classic), message(&native)].concat()))]);
    let body = [
        family("c", 0, &[counter]),
        family("s", 2, &[summary]),
        family("h", 4, &[histogram]),
        family("empty", 1, &[]),
    ]
    .concat();
    let (entries, error) = read(&body, Format::Protobuf, ParserOptions::default());
    assert_eq!(error, None);
    let samples = |entries: &[String]| -> Vec<String> {
        entries.iter().filter(|entry| entry.starts_with("__name__")).cloned().collect()
    };
    let plain = [
        "__name__=c,x=1 2 Some(1234) # [(\"t\", \"w\")] 0.5 Some(7005)",
        "__name__=s_count 3 None",
        "__name__=s_sum 4.5 None",
        "__name__=s,quantile=0.5 1.5 None",
    ];
    let classic = [
        "__name__=h_count 5 None",
        "__name__=h_sum 9 None",
        "__name__=h_bucket,le=1.0 2 None # [(\"t\", \"w\")] 0.5 Some(7005)",
        "__name__=h_bucket,le=+Inf 5 None",
    ];
    assert_eq!(samples(&entries), [&plain[..], &classic[..]].concat());
    let native_too = ParserOptions { native_histograms: true, classic_too: true };
    let (entries, error) = read(&body, Format::Protobuf, native_too);
    assert_eq!(error, None);
    let histogram = "__name__=h count 5 [Span { offset: 0, length: 1 }, Span { offset: 1, length: 1 }] [2, 2] None \
                     # [(\"t\", \"w\")] 0.5 Some(7005)";
    let told = samples(&entries);
    assert_eq!(told[4..], [&[histogram][..], &classic[..]].concat(), "{told:?}");
    let (_, error) = read(&body[..body.len() - 30], Format::Protobuf, ParserOptions::default());
    assert!(error.unwrap().contains("EOF"));
}

#[test]
fn the_format_is_what_the_header_says() {
    let of = |header: Option<&str>| Format::of(header, None).map(|(format, _)| format);
    assert_eq!(of(Some("text/plain; version=0.0.4; charset=utf-8")), Ok(Format::Text));
    assert_eq!(of(Some("Application/OpenMetrics-text;version=1.0.0")), Ok(Format::OpenMetrics));
    assert_eq!(of(Some("application/vnd.google.protobuf; encoding=delimited")), Ok(Format::Protobuf));
    assert!(of(Some("text/html")).unwrap_err().0.contains("text/html"));
    assert!(of(None).is_err());
    let (format, odd) = Format::of(None, Some(Format::Text)).unwrap();
    assert!(format == Format::Text && odd.unwrap().contains("blank Content-Type"));
}
