use super::*;

fn point(name: &str) -> Value {
    json!({"$ref": format!("{POINTER}{name}")})
}

fn document() -> Value {
    json!({
        "paths": {
            "/apis/a.example/v1/": {"get": {"responses": {"200": {"schema": point("List")}}}},
            "/apis/a.example/v1beta1/": {"get": {"schema": point("Old")}},
            "/apis/apps/v1/": {"get": {"schema": point("Other")}},
        },
        "definitions": {
            "List": {"properties": {"items": {"items": point("Own")}, "metadata": point("Meta")}},
            "Own": {"properties": {"self": point("Own"), "metadata": point("Meta")}},
            "Meta": {"type": "object", KINDS: [{"kind": "Meta", "group": "a.example"}]},
            "Old": {}, "Other": {},
        },
    })
}

#[test]
fn only_an_extensions_own_paths_and_what_they_need_are_taken() {
    let part = extract(document(), "/apis/a.example/v1").unwrap();
    let keys = |of: &str| part[of].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys("paths"), ["/apis/a.example/v1/"]);
    assert_eq!(keys("definitions"), ["List", "Meta", "Own"]);
    let mut torn = document();
    torn["definitions"].as_object_mut().unwrap().remove("Meta");
    assert_eq!(extract(torn, "/apis/a.example/v1").unwrap_err(), "it has no definition \"Meta\"");
    assert_eq!(extract(json!(["rubbish"]), "/apis/a/v1").unwrap(), json!({"paths": {}, "definitions": {}}));
}

#[test]
fn what_is_the_same_is_shared_and_what_is_not_gets_another_name() {
    let part = extract(document(), "/apis/a.example/v1").unwrap();
    let kinds = json!([{"kind": "Meta", "group": "local"}]);
    let mut own = json!({"paths": {}, "definitions": {"Meta": {"type": "object", KINDS: kinds}}});
    merge(&mut own, &part);
    assert_eq!(own["definitions"]["Meta"][KINDS].as_array().unwrap().len(), 2);
    assert_eq!(own["definitions"].as_object().unwrap().len(), 3);

    let mut own =
        json!({"paths": {}, "definitions": {"Meta": {"type": "string"}, "Own": part["definitions"]["Own"]}});
    merge(&mut own, &part);
    assert_eq!(own["definitions"]["Meta"], json!({"type": "string"}));
    assert_eq!(own["definitions"]["Meta_v2"]["type"], "object");
    // It is the same by itself, but what it points to is not.
    assert_eq!(own["definitions"]["Own_v2"]["properties"]["metadata"], point("Meta_v2"));
    assert_eq!(own["definitions"]["Own_v2"]["properties"]["self"], point("Own_v2"));
    assert_eq!(own["definitions"]["List"]["properties"]["items"]["items"], point("Own_v2"));
    let schema = &own["paths"]["/apis/a.example/v1/"]["get"]["responses"]["200"]["schema"];
    assert_eq!(*schema, point("List"));
}

#[test]
fn the_root_names_only_documents_at_their_own_place() {
    let root = |url: &str| json!({"paths": {"apis/a.example/v1": {"serverRelativeURL": url}}});
    let place = "apis/a.example/v1";
    let good = "/openapi/v3/apis/a.example/v1?hash=0A";
    assert_eq!(url_of(&root(good), place).as_deref(), Some(good));
    for bad in [
        "https://evil.example/",
        "/openapi/v3/apis/apps/v1?hash=0A",
        "/openapi/v3/apis/a.example/v1?hash=0\"",
        "",
    ] {
        assert_eq!(url_of(&root(bad), place), None, "{bad}");
    }
    let mut specs = Specs::default();
    let spec = Spec { v3: Some(good.into()), v2: None };
    specs.0.insert(("a.example".into(), "v1".into()), spec);
    let mut own = json!({"paths": {}});
    specs.add_to_v3_root(&mut own);
    assert_eq!(own["paths"]["apis/a.example/v1"]["serverRelativeURL"], good);
    assert!(specs.is_without_v2());
}
