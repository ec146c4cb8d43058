use super::*;

/// Feeds the bytes in pieces of `step` and returns the body, its trailers and what is left over.
fn decoded(
    mut decoder: Decoder,
    bytes: &[u8],
    step: usize,
) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), FramingError> {
    let mut buffer = BytesMut::new();
    let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
    let mut pieces = bytes.chunks(step);
    loop {
        match decoder.decode(&mut buffer)? {
            Decoded::Data(data) => body.extend_from_slice(&data),
            Decoded::Trailers(found) => trailers = found,
            Decoded::End => break,
            Decoded::More => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => break,
            },
        }
    }
    buffer.extend(pieces.flatten());
    Ok((body, trailers, buffer.to_vec()))
}

#[test]
fn a_chunked_body_is_the_same_however_its_bytes_arrive() {
    let wire = b"5;a=\"b\"\r\nhello\r\n00A \r\n, chunked!\r\n0\r\nX-Sum: 7\r\nHost: evil\r\n\r\nGET /";
    for step in 1..wire.len() {
        let (body, trailers, rest) = decoded(Decoder::chunked(), wire, step).unwrap();
        assert_eq!(body, b"hello, chunked!");
        assert_eq!(trailers.get("x-sum").unwrap(), "7");
        assert!(!trailers.contains_key("host"));
        assert_eq!(rest, b"GET /");
    }
}

#[test]
fn a_body_of_known_length_leaves_what_follows_it() {
    let (body, _, rest) = decoded(Decoder::length(3), b"abcdef", 2).unwrap();
    assert_eq!((body.as_slice(), rest.as_slice()), (&b"abc"[..], &b"def"[..]));
}

#[test]
fn bad_chunks_are_refused() {
    let long = [b"1;".as_slice(), &[b'x'; 2000]].concat();
    let many = [b"0\r\n".as_slice(), &b"a: b\r\n".repeat(65), b"\r\n"].concat();
    let large = [b"0\r\na: ".as_slice(), &[b'x'; 20_000]].concat();
    let cases: [(&[u8], FramingError); 14] = [
        (b"x\r\n", FramingError::Chunk),
        (b"\r\n", FramingError::Chunk),
        (b"-1\r\n", FramingError::Chunk),
        (b"1\n", FramingError::Chunk),
        (b"1x\r\n", FramingError::Chunk),
        (b"1\r\nab\r\n", FramingError::Chunk),
        (b"1000000000000000\r\n", FramingError::Chunk),
        (&long, FramingError::ChunkLine),
        (b"0\r\na: b\n\r\n\r\n", FramingError::Trailers),
        (b"0\r\na: b\n\nGET / HTTP/1.1\r\nhost: h\r\n\r\n", FramingError::Trailers),
        (b"0\r\n\nx: y\r\n\r\n", FramingError::Trailers),
        (b"0\r\na: b\nc: d\r\n\r\n", FramingError::Trailers),
        (&many, FramingError::Trailers),
        (&large, FramingError::Trailers),
    ];
    for (wire, expected) in cases {
        let refused = decoded(Decoder::chunked(), wire, wire.len());
        assert_eq!(refused.unwrap_err(), expected, "{}", wire.escape_ascii());
    }
}
