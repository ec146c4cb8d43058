use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use xebec_container::TerminalSize;
use xebec_node::exec::{ExecError, ExecRequest, exec};

use crate::cluster::Cluster;

fn request(command: &[&str], terminal: Option<TerminalSize>) -> ExecRequest {
    ExecRequest {
        container: None,
        command: command.iter().map(|part| (*part).to_owned()).collect(),
        terminal,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_in_the_containers_of_a_pod() {
    let Some(cluster) = Cluster::start("commands_run_in_the_containers_of_a_pod").await else { return };
    let spec = json!({"containers": [
        {"name": "main", "args": ["polite"], "env": [{"name": "VAR", "value": "value"}]},
        {"name": "waits", "image": "test/absent:v1", "imagePullPolicy": "Never"},
    ]});
    cluster.run("web", spec).await;
    let runs = |pod: &k8s_openapi::api::core::v1::Pod| crate::cluster::status(pod, "main").ready;
    let pod = cluster.until("web", "a running container", runs).await;
    let containers = cluster.parts();

    let mut session = exec(&containers, &pod, &request(&["/guest", "talk"], None)).await.unwrap();
    session.stdin.take().unwrap().write_all(b"hello\nbye\n").await.unwrap();
    let mut said = String::new();
    session.stdout.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "terminal false\nyou said hello\n");
    assert_eq!(session.wait().await.unwrap(), 5);

    let size = TerminalSize { rows: 10, columns: 40 };
    let mut session = exec(&containers, &pod, &request(&["/guest", "talk"], Some(size))).await.unwrap();
    session.resize(TerminalSize::default()).unwrap();
    session.stdin.as_mut().unwrap().write_all(b"bye\n").await.unwrap();
    said.clear();
    session.stdout.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert!(said.contains("terminal true\r\n"), "{said:?}");
    assert_eq!(session.wait().await.unwrap(), 5);

    // A status that names another pod's container leads nowhere.
    let mut other = pod.clone();
    other.metadata.uid = Some("another".to_owned());
    let astray = exec(&containers, &other, &request(&["/guest"], None)).await;
    assert!(matches!(astray, Err(ExecError::NotRunning { .. })), "{astray:?}");

    let mut waits = request(&["/guest"], None);
    waits.container = Some("waits".to_owned());
    assert!(matches!(exec(&containers, &pod, &waits).await, Err(ExecError::NotRunning { .. })));
    assert!(matches!(exec(&containers, &pod, &request(&[], None)).await, Err(ExecError::NoCommand)));
    cluster.delete("web").await;
    let gone = exec(&containers, &pod, &request(&["/guest"], None)).await;
    assert!(matches!(gone, Err(ExecError::NotRunning { .. })), "{gone:?}");
}
