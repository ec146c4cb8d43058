//! The server: sockets on one side, the zone and the machine's resolvers on the other.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::Name;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::answer::{self, Outcome};
use crate::forward::{self, Transport, read_message, write_message};
use crate::question::{self, Question, Read};
use crate::{Error, Resolvers, Zone};

/// The largest question over UDP. A longer one is cut, and no message then.
const LONGEST_QUESTION: usize = 4096;
/// The largest message over TCP.
const LONGEST: usize = 65_535;
/// How often a port is looked for that is free for both UDP and TCP.
const PORTS_TRIED: u32 = 16;
/// How long a socket that fails is left alone.
const PAUSE: Duration = Duration::from_millis(100);

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many questions may wait for others' answers. Further ones fail at once.
    pub outstanding: usize,
    /// How many connections are held. Further ones are closed at once.
    pub connections: usize,
    /// How long a connection may rest.
    pub idle: Duration,
    /// How long each of the machine's resolvers may take.
    pub wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            outstanding: 1000,
            connections: 256,
            idle: Duration::from_secs(10),
            wait: Duration::from_secs(2),
        }
    }
}

/// A DNS server that does not serve yet. Its [zone](Self::set_zone) is set from outside, by clones of it.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
    sockets: Arc<(UdpSocket, TcpListener)>,
    address: SocketAddr,
}

struct Shared {
    zone: RwLock<Option<Arc<Zone>>>,
    resolvers: Resolvers,
    limits: Limits,
    outstanding: Semaphore,
    connections: Arc<Semaphore>,
    turn: AtomicUsize,
}

/// What becomes of a message at once.
enum Prompt {
    Answer(Vec<u8>),
    Others(Box<Errand>),
    Nothing,
}

/// A question for others.
struct Errand {
    question: Question,
    /// The answer so far, which goes on from this name. Without, the question is for others as it is.
    begun: Option<(Message, Name)>,
}

impl Server {
    /// Listens for UDP and TCP on an address. Port 0 picks one.
    ///
    /// # Errors
    /// When the port is not free for both.
    pub async fn bind(address: SocketAddr, resolvers: Resolvers, limits: Limits) -> Result<Self, Error> {
        let failed = |source| Error::Listen { address, source };
        let mut tries = 0;
        let sockets = loop {
            let datagrams = UdpSocket::bind(address).await.map_err(failed)?;
            match TcpListener::bind(datagrams.local_addr().map_err(failed)?).await {
                Ok(streams) => break (datagrams, streams),
                Err(error) if address.port() != 0 || tries == PORTS_TRIED => return Err(failed(error)),
                Err(_) => tries += 1,
            }
        };
        let address = sockets.0.local_addr().map_err(failed)?;
        let shared = Shared {
            zone: RwLock::default(),
            resolvers,
            limits,
            outstanding: Semaphore::new(limits.outstanding),
            connections: Arc::new(Semaphore::new(limits.connections)),
            turn: AtomicUsize::new(0),
        };
        Ok(Self { shared: Arc::new(shared), sockets: Arc::new(sockets), address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers from this zone from now on. Before there is one, every question fails, so that nobody remembers that a name is
    /// not there.
    pub fn set_zone(&self, zone: Arc<Zone>) {
        *self.shared.zone.write().unwrap_or_else(PoisonError::into_inner) = Some(zone);
    }

    /// Serves until `shutdown` is cancelled.
    pub async fn serve(self, shutdown: CancellationToken) {
        let mut questions = JoinSet::new();
        let mut connections = JoinSet::new();
        let (datagrams, streams) = &*self.sockets;
        let mut buffer = vec![0; LONGEST_QUESTION];
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                received = datagrams.recv_from(&mut buffer) => match received {
                    Ok((length, client)) => self.take(&buffer[..length], client, &mut questions).await,
                    Err(error) => rest(&error).await,
                },
                accepted = streams.accept() => match accepted {
                    Ok((stream, _)) => {
                        if let Ok(place) = self.shared.connections.clone().try_acquire_owned() {
                            let shared = self.shared.clone();
                            connections.spawn(async move {
                                shared.converse(stream).await;
                                drop(place);
                            });
                        }
                    }
                    Err(error) => rest(&error).await,
                },
                Some(_) = questions.join_next() => {}
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn take(&self, bytes: &[u8], client: SocketAddr, questions: &mut JoinSet<()>) {
        match self.shared.prompt(bytes, Transport::Datagram) {
            Prompt::Nothing => {}
            Prompt::Answer(answer) => send(&self.sockets.0, &answer, client).await,
            Prompt::Others(errand) => {
                let (shared, sockets) = (self.shared.clone(), self.sockets.clone());
                let bytes = bytes.to_vec();
                // As many as may wait: what is more fails without having waited.
                questions.spawn(async move {
                    let answer = shared.ask_others(&bytes, *errand, Transport::Datagram).await;
                    if let Some(answer) = answer {
                        send(&sockets.0, &answer, client).await;
                    }
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, answer: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(answer, client).await {
        tracing::debug!(%client, %error, "an answer could not be sent");
    }
}

/// A socket may tell of a client that went away; other errors would come again and again.
async fn rest(error: &std::io::Error) {
    tracing::debug!(%error, "cluster DNS could not receive");
    tokio::time::sleep(PAUSE).await;
}

impl Shared {
    fn zone(&self) -> Option<Arc<Zone>> {
        self.zone.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a message is answered without others.
    fn prompt(&self, bytes: &[u8], over: Transport) -> Prompt {
        let question = match question::read(bytes) {
            Read::Ignored => return Prompt::Nothing,
            Read::Refused(answer) => return Prompt::Answer(answer),
            Read::Question(question) => question,
        };
        let reply = match self.zone() {
            None => question.reply(ResponseCode::ServFail),
            Some(zone) => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                match answer::answer(&zone, &question, turn) {
                    Outcome::Whole(reply) => reply,
                    Outcome::Elsewhere => {
                        return Prompt::Others(Box::new(Errand { question: *question, begun: None }));
                    }
                    Outcome::Onward(reply, name) => {
                        let begun = Some((reply, name));
                        return Prompt::Others(Box::new(Errand { question: *question, begun }));
                    }
                }
            }
        };
        written(reply, &question, over).map_or(Prompt::Nothing, Prompt::Answer)
    }

    async fn ask_others(&self, bytes: &[u8], errand: Errand, over: Transport) -> Option<Vec<u8>> {
        let Errand { question, begun } = errand;
        let failure = || written(question.reply(ResponseCode::ServFail), &question, over);
        let Ok(_place) = self.outstanding.try_acquire() else { return failure() };
        let servers = self.resolvers.now();
        let wait = self.limits.wait;
        // A number that nobody can guess.
        let mut asked = Message::query();
        let number = asked.metadata.id;
        let Some((mut reply, name)) = begun else {
            // The client's own message, with all that it says of the answer that it wants.
            let answer = forward::ask(&servers, bytes, over, wait, number).await;
            return answer.or_else(failure);
        };
        asked.metadata.message_type = MessageType::Query;
        asked.metadata.op_code = OpCode::Query;
        asked.metadata.recursion_desired = true;
        asked.add_query(Query::query(name, question.query.query_type));
        let Ok(bytes) = asked.to_vec() else { return failure() };
        let mut answer = forward::ask(&servers, &bytes, over, wait, number).await;
        let is_cut = answer.as_ref().is_some_and(|answer| answer.get(2).is_some_and(|flags| flags & 2 != 0));
        if is_cut {
            answer = forward::ask(&servers, &bytes, Transport::Stream, wait, number).await.or(answer);
        }
        let Some(told) = answer.and_then(|answer| Message::from_vec(&answer).ok()) else { return failure() };
        reply.metadata.response_code = told.metadata.response_code;
        reply.metadata.authoritative = false;
        reply.add_answers(told.answers);
        written(reply, &question, over)
    }

    /// Answers the messages of one connection, one after another.
    async fn converse(&self, mut stream: TcpStream) {
        while let Ok(Ok(Some(bytes))) = timeout(self.limits.idle, read_message(&mut stream)).await {
            let answer = match self.prompt(&bytes, Transport::Stream) {
                Prompt::Nothing => return,
                Prompt::Answer(answer) => Some(answer),
                Prompt::Others(errand) => self.ask_others(&bytes, *errand, Transport::Stream).await,
            };
            let Some(answer) = answer else { return };
            if !matches!(timeout(self.limits.idle, write_message(&mut stream, &answer)).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

fn written(reply: Message, question: &Question, over: Transport) -> Option<Vec<u8>> {
    let limit = if over == Transport::Stream { LONGEST } else { question.datagram() };
    answer::write(reply, limit)
}
