//! Answers out of the zone, as messages that fit.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::question::Question;
use crate::zone::{Found, Zone, alias};

/// How long an answer may be kept, in seconds: services change.
const LIFE: u32 = 5;
/// So many names may stand for each other.
const ALIASES: usize = 8;

/// What the zone alone makes of a question.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The whole answer.
    Whole(Message),
    /// Others know.
    Elsewhere,
    /// The answer so far, which others go on with from this name.
    Onward(Message, Name),
}

/// Answers a question out of the zone. Of several records each comes first in its `turn`.
pub(crate) fn answer(zone: &Zone, question: &Question, turn: usize) -> Outcome {
    let kind = question.query.query_type;
    let mut reply = question.reply(ResponseCode::NoError);
    let mut name = question.query.name.clone();
    for _ in 0..ALIASES {
        match zone.find(&name, kind) {
            Found::Elsewhere if reply.answers.is_empty() => return Outcome::Elsewhere,
            Found::Elsewhere => return Outcome::Onward(reply, name),
            Found::Missing => {
                reply.metadata.response_code = ResponseCode::NXDomain;
                return Outcome::Whole(deny(zone, reply));
            }
            Found::There { answers, .. } if answers.is_empty() => return Outcome::Whole(deny(zone, reply)),
            Found::There { mut answers, additionals } => {
                let first = turn % answers.len();
                answers.rotate_left(first);
                reply.add_answers(
                    answers.into_iter().map(|data| Record::from_rdata(name.clone(), LIFE, data)),
                );
                let helping =
                    additionals.into_iter().map(|(name, data)| Record::from_rdata(name, LIFE, data));
                reply.add_additionals(helping);
                reply.metadata.authoritative = true;
                return Outcome::Whole(reply);
            }
            Found::Alias(target) => {
                reply.metadata.authoritative = true;
                reply.add_answer(Record::from_rdata(name, LIFE, alias(&target)));
                if kind == RecordType::CNAME {
                    return Outcome::Whole(reply);
                }
                name = target;
            }
        }
    }
    // Names that stand for each other in a circle.
    Outcome::Whole(question.reply(ResponseCode::ServFail))
}

/// Says whose word it is that nothing is there, and for how long it holds (RFC 2308, 3).
fn deny(zone: &Zone, mut reply: Message) -> Message {
    let (name, data): (Name, RData) = zone.authority();
    reply.add_authority(Record::from_rdata(name, LIFE, data));
    reply.metadata.authoritative = true;
    reply
}

/// The bytes of an answer: no more than `limit`, with a sign where something was left out (RFC 2181, 9). Nothing where it cannot
/// be written at all.
pub(crate) fn write(mut reply: Message, limit: usize) -> Option<Vec<u8>> {
    let whole = reply.to_vec().ok().filter(|bytes| bytes.len() <= limit);
    if whole.is_some() {
        return whole;
    }
    reply.additionals.clear();
    let helpless = reply.to_vec().ok().filter(|bytes| bytes.len() <= limit);
    if helpless.is_some() {
        return helpless;
    }
    reply.metadata.truncation = true;
    reply.authorities.clear();
    let answers = std::mem::take(&mut reply.answers);
    let fits = |count: usize| {
        let mut part = reply.clone();
        part.add_answers(answers[..count].iter().cloned());
        part.to_vec().ok().filter(|bytes| bytes.len() <= limit)
    };
    // More than `few` is not known to fit, and `many` is known not to.
    let (mut few, mut many) = (0, answers.len());
    let mut best = fits(0)?;
    while few + 1 < many {
        let middle = few.midpoint(many);
        match fits(middle) {
            Some(bytes) => (few, best) = (middle, bytes),
            None => many = middle,
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::{Scope, Service};
    use crate::{Endpoint, question};
    use hickory_proto::op::{MessageType, OpCode, Query};

    fn zone(endpoints: u8) -> Zone {
        let endpoints = (0..endpoints)
            .map(|at| Endpoint { address: [10, 244, 0, at].into(), hostname: None, ports: Vec::new() })
            .collect();
        let own = |name: &str| ("default".to_owned(), name.to_owned());
        let alias = |target: &str| Service::Alias { target: target.to_owned() };
        let services = [
            (own("set"), Service::Headless { endpoints }),
            (own("in"), alias("set.default.svc.cluster.local")),
            (own("out"), alias("www.example.org")),
            (own("round"), alias("round.default.svc.cluster.local")),
        ];
        let scope = Scope { domain: "cluster.local".into(), server: None, ranges: Vec::new() };
        Zone::compile(scope, 1, ["default".to_owned()], services).unwrap()
    }

    fn asked(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        let name = Name::from_ascii(format!("{name}.default.svc.cluster.local.")).unwrap();
        message.add_query(Query::query(name, kind));
        message.to_vec().unwrap()
    }

    fn ask(name: &str, kind: RecordType) -> Question {
        match question::read(&asked(name, kind)) {
            question::Read::Question(question) => *question,
            other => panic!("{other:?}"),
        }
    }

    fn whole(outcome: Outcome) -> Message {
        match outcome {
            Outcome::Whole(message) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_address_comes_first_in_its_turn() {
        let first = |turn| {
            let reply = whole(answer(&zone(3), &ask("set", RecordType::A), turn));
            assert!(reply.metadata.authoritative);
            reply.answers[0].data.to_string()
        };
        assert_eq!([first(0), first(1), first(5)], ["10.244.0.0", "10.244.0.1", "10.244.0.2"]);
    }

    #[test]
    fn what_is_not_there_is_denied_with_authority() {
        let missing = whole(answer(&zone(0), &ask("none", RecordType::A), 0));
        assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
        let untyped = whole(answer(&zone(1), &ask("set", RecordType::AAAA), 0));
        assert_eq!(untyped.metadata.response_code, ResponseCode::NoError);
        for reply in [missing, untyped] {
            assert!(reply.answers.is_empty());
            assert_eq!(reply.authorities[0].record_type(), RecordType::SOA);
        }
    }

    #[test]
    fn names_that_stand_for_others_are_followed() {
        let reply = whole(answer(&zone(1), &ask("in", RecordType::A), 0));
        let kinds: Vec<_> = reply.answers.iter().map(Record::record_type).collect();
        assert_eq!(kinds, [RecordType::CNAME, RecordType::A]);
        let Outcome::Onward(reply, name) = answer(&zone(1), &ask("out", RecordType::A), 0) else {
            panic!("others know");
        };
        assert_eq!((reply.answers.len(), name.to_string().as_str()), (1, "www.example.org."));
        let own = whole(answer(&zone(1), &ask("out", RecordType::CNAME), 0));
        assert_eq!(own.answers.len(), 1);
        let round = whole(answer(&zone(1), &ask("round", RecordType::A), 0));
        assert_eq!(round.metadata.response_code, ResponseCode::ServFail);
    }

    #[test]
    fn whatever_comes_is_answered_within_its_limit_or_not_at_all() {
        let zone = zone(200);
        let names = ["set", "in", "out", "round", "_http._tcp.set", "10-244-0-1.set", "none"];
        let seeds: Vec<Vec<u8>> = names.map(|name| asked(name, RecordType::A)).to_vec();
        xebec_dice::rounds("whatever comes is answered", |dice| {
            let mut bytes = if dice.once_in(8) { dice.bytes(600) } else { dice.pick(&seeds).clone() };
            for _ in 0..dice.below(8) {
                let at = dice.below(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = dice.number().to_le_bytes()[0];
                }
            }
            if dice.once_in(4) {
                bytes.truncate(dice.below(bytes.len() + 1));
            }
            if let question::Read::Question(question) = question::read(&bytes) {
                match answer(&zone, &question, dice.below(1000)) {
                    Outcome::Whole(reply) | Outcome::Onward(reply, _) => {
                        let limit = question.datagram();
                        assert!(write(reply, limit).is_none_or(|written| written.len() <= limit));
                    }
                    Outcome::Elsewhere => {}
                }
            }
        });
    }

    #[test]
    fn what_does_not_fit_is_cut_and_says_so() {
        let reply = || whole(answer(&zone(200), &ask("set", RecordType::A), 0));
        let cut = write(reply(), 512).unwrap();
        assert!((480..=512).contains(&cut.len()), "{}", cut.len());
        let cut = Message::from_vec(&cut).unwrap();
        assert!(cut.metadata.truncation && !cut.answers.is_empty());
        let all = Message::from_vec(&write(reply(), 65_535).unwrap()).unwrap();
        assert!(!all.metadata.truncation && all.answers.len() == 200);
    }
}
