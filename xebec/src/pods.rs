//! What the API asks of the pods on this machine: their logs, sessions with them, connections to them.

mod session;

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use futures::{StreamExt as _, TryFutureExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use xebec_apiserver::pods::{Connection, Pods, Run, SessionRequest};
use xebec_apiserver::service::ResponseBody;
use xebec_apiserver::usage::{self, Usage};
use xebec_container::ContainerId;
use xebec_machinery::status::Status;
use xebec_node::Containers;
use xebec_node::logs::{LogOptions, read};
use xebec_node::meter::{self, Meter};

use crate::data_dir::DataDir;

/// The pods of this machine.
pub(crate) struct LocalPods {
    folder: PathBuf,
    client: OnceLock<kube::Client>,
    containers: OnceLock<Containers>,
    meter: OnceLock<(String, Arc<Meter>)>,
}

impl LocalPods {
    pub(crate) fn new(data: &DataDir) -> Self {
        Self {
            folder: data.path().join("pods"),
            client: OnceLock::new(),
            containers: OnceLock::new(),
            meter: OnceLock::new(),
        }
    }

    /// Gives the client by which a followed log learns that its pod is gone.
    pub(crate) fn connect(&self, client: kube::Client) {
        // A second client would be as good as the first.
        let _first_stays = self.client.set(client);
    }

    /// Gives the node's name and what measures it.
    pub(crate) fn measure(&self, node: String, meter: Arc<Meter>) {
        let _first_stays = self.meter.set((node, meter));
    }

    /// Gives what runs containers here.
    pub(crate) fn run_containers(&self, containers: Containers) {
        let _first_stays = self.containers.set(containers);
    }
}

impl Pods for LocalPods {
    fn logs<'a>(
        &'a self,
        pod: &'a Value,
        query: &'a str,
    ) -> BoxFuture<'a, Result<http::Response<ResponseBody>, Status>> {
        Box::pin(async move {
            let options = LogOptions::parse(query, jiff::Timestamp::now()).map_err(Status::bad_request)?;
            let container = container_of(pod, options.container.as_deref())?;
            let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
            let path = self.folder.join(uid).join(format!("{container}.log"));
            let ended = CancellationToken::new();
            let following = options.follow.then(|| {
                let (client, pod, path) = (self.client.get().cloned(), pod.clone(), path.clone());
                let ended = ended.clone();
                AbortOnDropHandle::new(tokio::spawn(async move {
                    until_gone(client, pod, path).await;
                    ended.cancel();
                }))
            });
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let waiting = format!(
                "container {container:?} in pod {name:?} is waiting to start: {}",
                waits_for(pod, &container)
            );
            let none = format!("previous terminated container {container:?} in pod {name:?} not found");
            let refused = |error| match error {
                xebec_node::Error::NoPrevious { .. } => Status::bad_request(none),
                _ => Status::bad_request(waiting),
            };
            let lines = read(&path, options, ended).map_err(refused).await?;
            let frames = lines.map(move |line| {
                // A reader that leaves drops the lines, and with them whoever waits for their end.
                let _held = &following;
                Ok(http_body::Frame::data(line))
            });
            let mut response = http::Response::new(StreamBody::new(frames).boxed_unsync());
            let text = http::HeaderValue::from_static("text/plain");
            response.headers_mut().insert(http::header::CONTENT_TYPE, text);
            Ok(response)
        })
    }

    fn session<'a>(&'a self, pod: &'a Value, asked: SessionRequest) -> BoxFuture<'a, Result<Run, Status>> {
        Box::pin(async move {
            let container = container_of(pod, asked.container.as_deref())?;
            session::begin(self, pod, &container, asked).await
        })
    }

    fn usage(&self) -> Usage {
        let Some((node, meter)) = self.meter.get() else { return Usage::default() };
        let figures = meter.figures();
        let containers = |list: &Vec<(meter::Place, meter::Measured)>| {
            list.iter().map(|(place, own)| (placed(*place), measured(*own))).collect()
        };
        Usage {
            node: node.clone(),
            machine: figures.machine.map(measured),
            pods: figures.pods.iter().map(|(uid, list)| (uid.clone(), containers(list))).collect(),
        }
    }

    fn dial(&self, pod: &Value, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
        let network = self.containers.get().map(|own| own.network.clone());
        let uid = pod["metadata"]["uid"].as_str().and_then(|uid| uid.parse::<ContainerId>().ok());
        let address = pod["status"]["podIP"].as_str().and_then(|address| address.parse::<IpAddr>().ok());
        Box::pin(async move {
            if let (Some(network), Some(uid)) = (network, uid)
                && network.pods().contains_key(&uid)
            {
                // As from within the pod: what listens there on its loopback interface is reached, too.
                let connected = tokio::task::spawn_blocking(move || network.dial(&uid, port)).await;
                let stream = connected.map_err(io::Error::other)??;
                stream.set_nonblocking(true)?;
                return Ok(Box::new(TcpStream::from_std(stream)?) as Box<dyn Connection>);
            }
            let address = address.ok_or_else(|| io::Error::other("the pod has no address yet"))?;
            Ok(Box::new(TcpStream::connect((address, port)).await?) as Box<dyn Connection>)
        })
    }
}

fn placed(place: meter::Place) -> usage::Place {
    match place {
        meter::Place::Main(at) => usage::Place::Main(at),
        meter::Place::Init(at) => usage::Place::Init(at),
    }
}

fn measured(own: meter::Measured) -> usage::Measured {
    let meter::Measured { cpu_nanocores, memory_bytes, until, window } = own;
    usage::Measured { cpu_nanocores, memory_bytes, until, window }
}

/// Which container of the pod is meant: the named one, or the only one that the pod is for.
fn container_of(pod: &Value, wanted: Option<&str>) -> Result<String, Status> {
    let named = |list: &str| -> Vec<&str> {
        let list = pod["spec"][list].as_array().into_iter().flatten();
        list.filter_map(|container| container["name"].as_str()).collect()
    };
    let names = ["initContainers", "containers", "ephemeralContainers"].map(named).concat();
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    match (wanted, named("containers").as_slice()) {
        (Some(wanted), _) if names.contains(&wanted) => Ok(wanted.to_owned()),
        (Some(wanted), _) => {
            Err(Status::bad_request(format!("container {wanted} is not valid for pod {name}")))
        }
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => Err(Status::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            names.join(" ")
        ))),
    }
}

/// Why a container that has said nothing does not run, as the kubelet words it.
fn waits_for<'a>(pod: &'a Value, container: &str) -> &'a str {
    let statuses = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"]
        .into_iter()
        .flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    let own = statuses.into_iter().find(|status| status["name"] == container);
    match own.and_then(|status| status["state"]["waiting"]["reason"].as_str()) {
        Some("ErrImagePull") => "image can't be pulled",
        Some("ImagePullBackOff") => "trying and failing to pull image",
        Some(reason) => reason,
        None => "ContainerCreating",
    }
}

/// Waits until the pod's files are gone or the pod has ended.
async fn until_gone(client: Option<kube::Client>, pod: Value, path: PathBuf) {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        if matches!(tokio::fs::try_exists(&path).await, Ok(false)) {
            break;
        }
        let Some(client) = &client else { continue };
        let pods: kube::Api<kube::core::DynamicObject> = kube::Api::namespaced_with(
            client.clone(),
            &text("namespace"),
            &kube::core::ApiResource::from_gvk_with_plural(
                &kube::core::GroupVersionKind::gvk("", "v1", "Pod"),
                "pods",
            ),
        );
        match pods.get_opt(&text("name")).await {
            Ok(Some(now)) => {
                let phase = now.data["status"]["phase"].as_str().unwrap_or_default();
                if matches!(phase, "Succeeded" | "Failed") {
                    break;
                }
            }
            Ok(None) => break,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use serde_json::json;

    #[tokio::test]
    async fn nobody_asks_for_a_pod_whose_log_is_no_longer_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("u")).unwrap();
        std::fs::write(folder.path().join("u/web.log"), "").unwrap();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "b", "uid": "u"},
            "spec": {"containers": [{"name": "web"}]}, "status": {"phase": "Running"},
        });
        let asked = Arc::new(AtomicUsize::new(0));
        let (count, answer) = (asked.clone(), pod.to_string());
        let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            count.fetch_add(1, Ordering::Relaxed);
            let answer = http::Response::new(http_body_util::Full::new(bytes::Bytes::from(answer.clone())));
            async move { Ok::<_, Infallible>(answer) }
        });
        let pods = LocalPods {
            folder: folder.path().to_owned(),
            client: OnceLock::from(kube::Client::new(service, "default")),
            containers: OnceLock::new(),
            meter: OnceLock::new(),
        };
        let log = pods.logs(&pod, "follow=true").await.unwrap();
        let asked_by_then = async |least: usize| {
            while asked.load(Ordering::Relaxed) < least {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), asked_by_then(1)).await.expect("it is followed");
        drop(log);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = asked.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(asked.load(Ordering::Relaxed), before);
    }

    #[tokio::test]
    async fn a_container_that_ran_but_once_has_no_output_of_the_time_before() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::hold(folder.path()).unwrap();
        let pods = LocalPods::new(&data);
        let pod = json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [{"name": "c"}]}});
        let told = async |query: &str| pods.logs(&pod, query).await.err().unwrap().message;
        let expected = "previous terminated container \"c\" in pod \"p\" not found";
        assert_eq!(told("previous=true").await, expected);
        let expected = "container \"c\" in pod \"p\" is waiting to start: ContainerCreating";
        assert_eq!(told("").await, expected);
    }

    #[test]
    fn a_container_that_is_not_named_is_the_one_that_the_pod_is_for() {
        let pod = |containers: Value| {
            json!({"metadata": {"name": "p"}, "spec": {
                "initContainers": [{"name": "i"}], "containers": containers,
                "ephemeralContainers": [{"name": "e"}],
            }})
        };
        let one = pod(json!([{"name": "a"}]));
        assert_eq!(container_of(&one, None).ok().as_deref(), Some("a"));
        assert_eq!(container_of(&one, Some("e")).ok().as_deref(), Some("e"));
        let told = container_of(&pod(json!([{"name": "a"}, {"name": "b"}])), None).err().unwrap().message;
        assert_eq!(told, "a container name must be specified for pod p, choose one of: [i a b e]");
    }

    #[test]
    fn a_container_without_a_log_says_what_it_waits_for() {
        let pod = |reason: &str| {
            json!({"status": {"containerStatuses": [
                {"name": "other", "state": {"running": {}}},
                {"name": "main", "state": {"waiting": {"reason": reason}}},
            ]}})
        };
        for (reason, told) in [
            ("CrashLoopBackOff", "CrashLoopBackOff"),
            ("ErrImagePull", "image can't be pulled"),
            ("ImagePullBackOff", "trying and failing to pull image"),
        ] {
            assert_eq!(waits_for(&pod(reason), "main"), told);
        }
        assert_eq!(waits_for(&json!({}), "main"), "ContainerCreating");
    }
}
