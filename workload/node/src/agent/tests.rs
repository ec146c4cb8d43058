use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};
use xebec_oci::Limits;
use xebec_wasm::HostOptions;

use super::*;

/// What the API was asked to write: where and what.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// An agent that has begun nothing yet, of an API that knows nothing.
async fn agent(folder: &Path) -> (Agent, Asked) {
    let asked = Asked::default();
    let heard = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let heard = heard.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            if parts.method != http::Method::GET {
                let what = String::from_utf8_lossy(&body).into_owned();
                heard.lock().unwrap().push((parts.uri.path().to_owned(), what));
            }
            let absent = json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404});
            let answer = Response::builder().status(404).body(Body::from(absent.to_string().into_bytes()));
            Ok::<_, tower::BoxError>(answer?)
        }
    });
    let client = Client::new(service, "default");
    let (events, _writing) = Recorder::start(client.clone(), "edge".to_owned());
    let options = Options {
        name: "edge".to_owned(),
        address: Ipv4Addr::LOCALHOST,
        loopback: Ipv4Addr::new(127, 200, 0, 0),
        folder: folder.join("pods"),
        store: Arc::new(Store::open(folder.join("registry"), Limits::default()).unwrap()),
        registry: None,
        registries: ClientOptions::default(),
        host: Host::new(HostOptions::new(folder.join("wasm"))).unwrap(),
        containers: Err("this is a test".to_owned()),
        dns: None,
        names: None,
        covers: None,
        hurry: CancellationToken::new(),
    };
    let node = Arc::new(Node {
        client: client.clone(),
        options,
        shutdown: CancellationToken::new(),
        deadline: OnceLock::new(),
        events,
        pulls: Pulls::default(),
        addresses: Mutex::default(),
        holders: Holders::default(),
    });
    let (storage, devices, _) = scheduler::follow(client);
    let object = json!({"metadata": {"name": "edge"}, "status": {"allocatable": {"cpu": "2", "pods": "9"}}});
    let agent = Agent {
        node,
        lives: HashMap::new(),
        leftovers: HashMap::new(),
        listing: None,
        is_listed: false,
        early: Vec::new(),
        object: Some(serde_json::from_value(object).unwrap()),
        pending: BTreeMap::new(),
        assumed: HashMap::new(),
        evictions: HashMap::new(),
        storage,
        devices,
        cleaning: None,
    };
    (agent, asked)
}

/// A pod that asks for more than half of the node.
fn pod(name: &str, node: Option<&str>, status: Value) -> Pod {
    let container = json!({"name": "c", "image": "absent", "resources": {"requests": {"cpu": "1500m"}}});
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"nodeName": node, "containers": [container]},
        "status": status,
    }))
    .unwrap()
}

fn running(name: &str) -> Pod {
    pod(name, Some("edge"), json!({"phase": "Running", "startTime": "2026-01-01T00:00:00Z"}))
}

fn writes(asked: &Asked, end: &str) -> Vec<String> {
    let asked = asked.lock().unwrap();
    asked.iter().filter(|(path, _)| path.ends_with(end)).map(|(_, what)| what.clone()).collect()
}

#[tokio::test]
async fn no_pod_gets_a_place_before_all_that_are_here_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let (mut agent, asked) = agent(folder.path()).await;
    let waiting = pod("a", None, json!({"phase": "Pending"}));
    for event in [
        watcher::Event::Init,
        watcher::Event::InitApply(waiting),
        watcher::Event::InitApply(running("z")),
        watcher::Event::InitDone,
    ] {
        agent.take(event).await;
        agent.schedule().await;
    }
    assert_eq!(writes(&asked, "/binding"), Vec::<String>::new());
    let told = writes(&asked, "/pods/a/status");
    assert!(told.iter().any(|what| what.contains("Insufficient cpu")), "{told:?}");
    agent.lives.clear();
    agent.schedule().await;
    assert_eq!(writes(&asked, "/binding").len(), 1, "what waited gets the room that there is");
}

#[tokio::test]
async fn a_pod_that_others_put_here_is_judged_beside_all_that_are_here() {
    let folder = tempfile::tempdir().unwrap();
    let (mut agent, asked) = agent(folder.path()).await;
    agent.take(watcher::Event::Init).await;
    agent.take(watcher::Event::InitApply(pod("put", Some("edge"), json!({})))).await;
    agent.take(watcher::Event::InitApply(running("z"))).await;
    agent.take(watcher::Event::InitDone).await;
    assert_eq!(agent.lives.keys().collect::<Vec<_>>(), ["z"]);
    let told = writes(&asked, "/pods/put/status");
    assert!(told.iter().any(|what| what.contains("OutOfcpu")), "{told:?}");
}
