//! What a client asks, read from a message that may be anything.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};

/// The length of a header (RFC 1035, 4.1.1).
pub(crate) const HEADER: usize = 12;
/// The most that a client over UDP takes who says nothing of it (RFC 1035, 2.3.4), and who says more (so that no packet is cut
/// on its way).
const PLAIN: u16 = 512;
const MOST: u16 = 1232;

/// One question, and how it may be answered.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) id: u16,
    pub(crate) query: Query,
    wants_recursion: bool,
    /// How much the client takes in one datagram, where it says so.
    payload: Option<u16>,
}

/// What a message turns out to be.
#[derive(Debug)]
pub(crate) enum Read {
    Question(Box<Question>),
    /// It is answered with this.
    Refused(Vec<u8>),
    /// It is not answered: it is no question at all, or somebody's answer.
    Ignored,
}

/// Reads a message.
pub(crate) fn read(bytes: &[u8]) -> Read {
    let Some(header) = bytes.get(..HEADER) else { return Read::Ignored };
    // An answer to an answer could go on for ever (RFC 1035, 4.1.1, QR).
    if header[2] & 0x80 != 0 {
        return Read::Ignored;
    }
    let id = u16::from_be_bytes([header[0], header[1]]);
    let code = OpCode::from_u8((header[2] >> 3) & 0x0f);
    if code != OpCode::Query {
        return refused(Message::error_msg(id, code, ResponseCode::NotImp));
    }
    let Ok(mut message) = Message::from_vec(bytes) else {
        return refused(Message::error_msg(id, code, ResponseCode::FormErr));
    };
    let (Some(query), true) = (message.queries.pop(), message.queries.is_empty()) else {
        return refused(Message::error_msg(id, code, ResponseCode::FormErr));
    };
    let question = Question {
        id,
        query,
        wants_recursion: message.metadata.recursion_desired,
        payload: message.edns.as_ref().map(Edns::max_payload),
    };
    let kind = question.query.query_type;
    let why = if message.edns.is_some_and(|edns| edns.version() != 0) {
        // RFC 6891, 6.1.3
        ResponseCode::BADVERS
    } else if question.query.query_class != DNSClass::IN
        || matches!(kind, RecordType::AXFR | RecordType::IXFR)
    {
        ResponseCode::Refused
    } else {
        return Read::Question(Box::new(question));
    };
    refused(question.reply(why))
}

fn refused(message: Message) -> Read {
    message.to_vec().map_or(Read::Ignored, Read::Refused)
}

impl Question {
    /// An answer that says nothing yet.
    pub(crate) fn reply(&self, code: ResponseCode) -> Message {
        let mut reply = Message::new(self.id, MessageType::Response, OpCode::Query);
        reply.metadata.recursion_desired = self.wants_recursion;
        reply.metadata.recursion_available = true;
        reply.metadata.response_code = code;
        reply.add_query(self.query.clone());
        if self.payload.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(MOST);
            let high = u16::from(code) >> 4;
            edns.set_rcode_high(u8::try_from(high).unwrap_or(0));
            reply.set_edns(edns);
        }
        reply
    }

    /// How many bytes the client takes in one datagram.
    pub(crate) fn datagram(&self) -> usize {
        self.payload.unwrap_or(PLAIN).clamp(PLAIN, MOST).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::Name;

    fn asked(name: &str, kind: RecordType) -> Message {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message
    }

    fn code(bytes: &[u8]) -> ResponseCode {
        match read(bytes) {
            Read::Refused(reply) => {
                let reply = Message::from_vec(&reply).unwrap();
                assert_eq!((reply.metadata.id, reply.metadata.message_type), (7, MessageType::Response));
                reply.metadata.response_code
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_question_is_read() {
        let mut message = asked("web.test.", RecordType::A);
        let bytes = message.to_vec().unwrap();
        let Read::Question(question) = read(&bytes) else { panic!("a question") };
        assert_eq!((question.id, question.datagram()), (7, 512));
        let mut edns = Edns::new();
        edns.set_max_payload(65_000);
        message.set_edns(edns);
        let Read::Question(question) = read(&message.to_vec().unwrap()) else { panic!("a question") };
        assert_eq!(question.datagram(), 1232);
    }

    #[test]
    fn what_is_no_question_is_refused_or_ignored() {
        let good = asked("web.test.", RecordType::A).to_vec().unwrap();
        assert!(matches!(read(&good[..11]), Read::Ignored));
        assert_eq!(code(&good[..good.len() - 1]), ResponseCode::FormErr);
        let mut answer = good.clone();
        answer[2] |= 0x80;
        assert!(matches!(read(&answer), Read::Ignored));
        let mut update = good;
        update[2] = 5 << 3;
        assert_eq!(code(&update), ResponseCode::NotImp);
        let mut two = asked("web.test.", RecordType::A);
        two.add_query(two.queries[0].clone());
        assert_eq!(code(&two.to_vec().unwrap()), ResponseCode::FormErr);
        let all = asked("web.test.", RecordType::AXFR).to_vec().unwrap();
        assert_eq!(code(&all), ResponseCode::Refused);
        let mut chaos = asked("version.bind.", RecordType::TXT);
        chaos.queries[0].query_class = DNSClass::CH;
        assert_eq!(code(&chaos.to_vec().unwrap()), ResponseCode::Refused);
        let mut newer = asked("web.test.", RecordType::A);
        let mut edns = Edns::new();
        edns.set_version(1);
        newer.set_edns(edns);
        // The same number has another meaning in signed messages.
        assert_eq!(u16::from(code(&newer.to_vec().unwrap())), u16::from(ResponseCode::BADVERS));
    }
}
