use super::*;
use crate::config::SessionKey;

fn backends() -> Vec<Backend> {
    let endpoints = |ports: &[u16]| -> Vec<SocketAddr> {
        ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect()
    };
    vec![
        Backend::new("a", 1, endpoints(&[1, 2])),
        Backend::new("b", 1, endpoints(&[3])),
        Backend::new("c", 0, endpoints(&[4])),
    ]
}

fn sessions() -> [Session; 2] {
    let (lifetime, key) = (Some(Duration::from_secs(60)), SessionKey::new([7; SessionKey::LENGTH]));
    let cookie = Bearer::Cookie { name: "s".to_owned(), permanent: true };
    [
        Session { bearer: cookie, lifetime, key },
        Session { bearer: Bearer::Header(http::HeaderName::from_static("x-s")), lifetime, key },
    ]
}

/// What a client sends back of an answer.
fn sent_back(answer: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(token) = answer.get("x-s") {
        headers.insert("x-s", token.clone());
    }
    if let Some(cookie) = answer.get(SET_COOKIE) {
        let pair = cookie.to_str().unwrap().split(';').next().unwrap();
        headers.insert(COOKIE, format!("other=1; {pair}").parse().unwrap());
    }
    headers
}

#[test]
fn a_token_leads_back_to_its_endpoint_until_the_session_ends() {
    let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
    let all = backends();
    for session in sessions() {
        let mut answer = HeaderMap::new();
        begin(&session, "127.0.0.1:3".parse().unwrap(), Scheme::Https, &mut answer, now);
        let request = sent_back(&answer);
        let (backend, place) = find(&session, &all, &request, now + Duration::from_secs(59)).unwrap();
        assert_eq!((&*backend.id, place), ("b", 0));
        assert!(find(&session, &all, &request, now + Duration::from_secs(60)).is_none());
        assert!(find(&session, &all[..1], &request, now).is_none(), "the endpoint is gone");
    }
}

#[test]
fn a_cookie_says_how_long_it_lives_and_what_is_no_token_leads_nowhere() {
    let [cookie, header] = sessions();
    let mut answer = HeaderMap::new();
    begin(&cookie, "127.0.0.1:1".parse().unwrap(), Scheme::Https, &mut answer, UNIX_EPOCH);
    let text = answer[SET_COOKIE].to_str().unwrap();
    assert!(text.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure"), "{text}");
    let long = "A".repeat(10_000);
    for wrong in ["", "-", "x-0", "1", "00000000000000000000000001-0", "AAAAAAAAAAAAAAAA", &long] {
        let mut request = HeaderMap::new();
        request.insert("x-s", wrong.parse().unwrap());
        assert!(find(&header, &backends(), &request, UNIX_EPOCH).is_none(), "{wrong}");
    }
}

fn header_token(session: &Session, endpoint: &str) -> HeaderMap {
    let mut answer = HeaderMap::new();
    begin(session, endpoint.parse().unwrap(), Scheme::Http, &mut answer, UNIX_EPOCH);
    answer
}

#[test]
fn a_token_can_be_neither_read_nor_changed_nor_made_without_the_key() {
    let [cookie, header] = sessions();
    let told = header_token(&header, "127.0.0.1:1");
    assert_eq!(find(&header, &backends(), &told, UNIX_EPOCH).map(|(_, place)| place), Some(0));
    // The same endpoint looks different each time.
    assert_ne!(told, header_token(&header, "127.0.0.1:1"));
    let text = told["x-s"].to_str().unwrap();
    for at in 0..text.len() {
        let mut changed = text.as_bytes().to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-s"),
            HeaderValue::from_bytes(&changed).unwrap(),
        )]);
        assert!(find(&header, &backends(), &changed, UNIX_EPOCH).is_none(), "byte {at}");
    }
    let other = Session { key: SessionKey::random().unwrap(), ..header.clone() };
    assert!(find(&other, &backends(), &told, UNIX_EPOCH).is_none(), "of another key");
    let moved = HeaderMap::from_iter([(COOKIE, format!("s={text}").parse().unwrap())]);
    assert!(find(&cookie, &backends(), &moved, UNIX_EPOCH).is_none(), "of another bearer");
    assert_eq!(format!("{:?}", header.key), "SessionKey(…)");
}

#[test]
fn a_backend_without_weight_keeps_no_session() {
    let [_, header] = sessions();
    let told = header_token(&header, "127.0.0.1:4");
    assert!(find(&header, &backends(), &told, UNIX_EPOCH).is_none());
    let told = header_token(&header, "[2001:db8::1]:3");
    let six = [Backend::new("six", 1, vec!["[2001:db8::1]:3".parse::<SocketAddr>().unwrap()])];
    assert!(find(&header, &six, &told, UNIX_EPOCH).is_some());
}
