use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;
use xebec_dns::{Endpoint, Limits, Resolvers, Scope, Server, Service, Zone};

pub(crate) const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) fn zone() -> Arc<Zone> {
    let own = |name: &str| ("default".to_owned(), name.to_owned());
    let web =
        Service::Address { addresses: vec![[10, 96, 0, 20].into()], ports: Vec::new(), named: Vec::new() };
    let endpoint = |at: u8| Endpoint { address: [10, 244, 0, at].into(), hostname: None, ports: Vec::new() };
    let services = [
        (own("web"), web),
        (own("many"), Service::Headless { endpoints: (0..200).map(endpoint).collect() }),
        (own("out"), Service::Alias { target: "www.example.org".into() }),
    ];
    let scope = Scope { domain: "cluster.local".into(), server: None, ranges: Vec::new() };
    Arc::new(Zone::compile(scope, 1, ["default".to_owned()], services).unwrap())
}

/// A server with the zone, which ends with the guard.
pub(crate) async fn serving(resolvers: Resolvers, limits: Limits) -> (Server, tokio_util::sync::DropGuard) {
    let server = Server::bind(LOCAL, resolvers, limits).await.unwrap();
    server.set_zone(zone());
    let stop = CancellationToken::new();
    tokio::spawn(server.clone().serve(stop.clone()));
    (server, stop.drop_guard())
}

/// A resolver that knows every name as 192.0.2.1, or does what else `how` says. It counts what it is asked.
async fn resolver(how: fn(Message) -> Option<Message>) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind(LOCAL).await.unwrap();
    let address = socket.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let asked = count.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            asked.fetch_add(1, Ordering::Relaxed);
            let question = Message::from_vec(&buffer[..length]).unwrap();
            if let Some(answer) = how(question) {
                socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
            }
        }
    });
    (address, count)
}

fn known(question: Message) -> Option<Message> {
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    let name = question.queries[0].name.clone();
    answer.add_query(question.queries[0].clone());
    answer.add_answer(Record::from_rdata(name, 60, RData::A(A([192, 0, 2, 1].into()))));
    Some(answer)
}

pub(crate) fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4321, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

pub(crate) async fn ask(server: SocketAddr, name: &str) -> Message {
    let socket = UdpSocket::bind(LOCAL).await.unwrap();
    socket.connect(server).await.unwrap();
    socket.send(&question(name, RecordType::A).to_vec().unwrap()).await.unwrap();
    let mut buffer = [0; 4096];
    let length = tokio::time::timeout(Duration::from_secs(10), socket.recv(&mut buffer)).await;
    let answer = Message::from_vec(&buffer[..length.expect("an answer").unwrap()]).unwrap();
    assert_eq!(answer.metadata.id, 4321);
    answer
}

async fn ask_by_stream(stream: &mut TcpStream, name: &str) -> Message {
    let bytes = question(name, RecordType::A).to_vec().unwrap();
    stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

fn texts(answer: &Message) -> Vec<String> {
    answer.answers.iter().map(|record| record.data.to_string()).collect()
}

#[tokio::test]
async fn the_clusters_names_are_answered_and_others_are_asked_for() {
    let (upstream, asked) = resolver(known).await;
    let (server, _stop) = serving(Resolvers::fixed([upstream]), Limits::default()).await;
    let own = ask(server.address(), "web.default.svc.cluster.local.").await;
    assert_eq!((texts(&own), own.metadata.authoritative), (vec!["10.96.0.20".to_owned()], true));
    let missing = ask(server.address(), "none.default.svc.cluster.local.").await;
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(asked.load(Ordering::Relaxed), 0, "the cluster's names stay here");
    let other = ask(server.address(), "www.example.org.").await;
    assert_eq!((texts(&other), other.metadata.authoritative), (vec!["192.0.2.1".to_owned()], false));
    let alias = ask(server.address(), "out.default.svc.cluster.local.").await;
    assert_eq!(texts(&alias), ["www.example.org.", "192.0.2.1"]);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_long_answer_is_cut_and_whole_on_a_connection() {
    let (server, _stop) = serving(Resolvers::fixed([]), Limits::default()).await;
    let cut = ask(server.address(), "many.default.svc.cluster.local.").await;
    assert!(cut.metadata.truncation && cut.answers.len() < 200);
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    for _ in 0..3 {
        let whole = ask_by_stream(&mut stream, "many.default.svc.cluster.local.").await;
        assert!(!whole.metadata.truncation);
        assert_eq!(whole.answers.len(), 200);
    }
}

#[tokio::test]
async fn a_resolver_that_fails_or_lies_is_passed_over() {
    let (silent, _) = resolver(|_| None).await;
    let refuse: fn(Message) -> Option<Message> = |question| {
        let code = ResponseCode::Refused;
        let mut answer = Message::error_msg(question.metadata.id, OpCode::Query, code);
        answer.add_query(question.queries[0].clone());
        Some(answer)
    };
    let (refusing, _) = resolver(refuse).await;
    let (lying, _) = resolver(|question| {
        let mut answer = known(question)?;
        answer.metadata.id = answer.metadata.id.wrapping_add(1);
        Some(answer)
    })
    .await;
    let (good, _) = resolver(known).await;
    let limits = Limits { wait: Duration::from_millis(200), ..Limits::default() };
    let (server, _stop) = serving(Resolvers::fixed([silent, refusing, lying, good]), limits).await;
    assert_eq!(texts(&ask(server.address(), "a.test.").await), ["192.0.2.1"]);
    // What the last one says is told on where nobody knows.
    let (server, _stop) = serving(Resolvers::fixed([refusing, silent]), limits).await;
    assert_eq!(ask(server.address(), "a.test.").await.metadata.response_code, ResponseCode::Refused);
    let (server, _stop) = serving(Resolvers::fixed([silent]), limits).await;
    assert_eq!(ask(server.address(), "a.test.").await.metadata.response_code, ResponseCode::ServFail);
    let (server, _stop) = serving(Resolvers::fixed([]), limits).await;
    assert_eq!(ask(server.address(), "a.test.").await.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn what_waits_too_long_leaves_room_for_the_clusters_names() {
    let (silent, asked) = resolver(|_| None).await;
    let limits = Limits { outstanding: 2, wait: Duration::from_secs(30), ..Limits::default() };
    let (server, _stop) = serving(Resolvers::fixed([silent]), limits).await;
    let address = server.address();
    let waiting: Vec<_> =
        (0..2).map(|_| tokio::spawn(async move { ask(address, "a.test.").await })).collect();
    while asked.load(Ordering::Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let begun = std::time::Instant::now();
    assert_eq!(ask(address, "b.test.").await.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(texts(&ask(address, "web.default.svc.cluster.local.").await), ["10.96.0.20"]);
    assert!(begun.elapsed() < Duration::from_secs(10));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn before_there_is_a_zone_nothing_is_denied() {
    let server = Server::bind(LOCAL, Resolvers::fixed([]), Limits::default()).await.unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.clone().serve(stop.clone()));
    let early = ask(server.address(), "web.default.svc.cluster.local.").await;
    assert_eq!(early.metadata.response_code, ResponseCode::ServFail);
    server.set_zone(zone());
    assert_eq!(texts(&ask(server.address(), "web.default.svc.cluster.local.").await), ["10.96.0.20"]);
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), serving).await.expect("it ends").unwrap();
}
