use super::*;

fn backends() -> Vec<Backend> {
    let endpoints = |ports: &[u16]| -> Vec<SocketAddr> {
        ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect()
    };
    vec![Backend::new("a", 1, endpoints(&[1, 2])), Backend::new("b", 0, endpoints(&[3]))]
}

fn sessions() -> [Session; 2] {
    let lifetime = Some(Duration::from_secs(60));
    let cookie = Bearer::Cookie { name: "s".to_owned(), permanent: true };
    [
        Session { bearer: cookie, lifetime },
        Session { bearer: Bearer::Header(http::HeaderName::from_static("x-s")), lifetime },
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
    for wrong in ["", "-", "x-0", "1", "00000000000000000000000001-0"] {
        let mut request = HeaderMap::new();
        request.insert("x-s", wrong.parse().unwrap());
        assert!(find(&header, &backends(), &request, UNIX_EPOCH).is_none(), "{wrong}");
    }
}
