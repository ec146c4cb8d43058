//! What a query may say of a log.

use crate::server::Server;

const LOG: &str = "/api/v1/namespaces/default/pods/a/log";

#[tokio::test]
async fn a_query_that_asks_for_what_cannot_be_is_refused_before_the_pod_is_looked_for() {
    let server = Server::start().await;
    for (query, code, message) in [
        (
            "tailLines=-1",
            422,
            r#"PodLogOptions "a" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0"#,
        ),
        (
            "sinceSeconds=1&sinceTime=2020-01-01T00:00:00Z",
            422,
            r#"PodLogOptions "a" is invalid: : Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"#,
        ),
        ("stream=Stderr", 422, r#"PodLogOptions "a" is invalid: stream: Forbidden: may not be specified"#),
        ("limitBytes=many", 400, r#"strconv.ParseInt: parsing "many": invalid syntax"#),
        ("tailLines=1", 404, r#"pods "a" not found"#),
    ] {
        let (found, answer) = server.get(&format!("{LOG}?{query}")).await;
        assert_eq!((found, answer["message"].as_str()), (code, Some(message)), "{answer}");
    }
    let (_, answer) = server.get(&format!("{LOG}?sinceSeconds=1&sinceTime=2020-01-01T00:00:00Z")).await;
    let cause = &answer["details"]["causes"][0];
    assert_eq!((&cause["reason"], cause.get("field")), (&"FieldValueForbidden".into(), None), "{answer}");
}
