//! From packets to questions, and from replies to packets. Pure: whatever comes in, there is an answer or none.

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{DNSClass, RData, Record as ResourceRecord, RecordType};

use super::table::{Record, Reply};

/// The largest packet that is read or written: what fits behind TCP's two bytes of length.
pub const LONGEST: usize = u16::MAX as usize;

/// What we announce to read over UDP: it passes every network unfragmented (DNS flag day 2020).
const OUR_PAYLOAD: u16 = 1232;

/// What came in.
#[derive(Debug)]
pub enum Incoming {
    /// Nothing that deserves an answer: too short, or an answer itself.
    Nothing,
    /// Answered whatever the names mean: no question that we understand.
    Refused(Vec<u8>),
    /// A question.
    Question(Box<Question>),
}

/// One question.
#[derive(Clone, Debug)]
pub struct Question {
    head: Metadata,
    query: Query,
    /// Whether who asks understands EDNS.
    extended: bool,
    /// The longest answer that who asks reads over UDP.
    payload: usize,
}

impl Incoming {
    /// Reads a packet.
    pub fn read(packet: &[u8]) -> Incoming {
        // Behind the number stand the flags, the first of which says that this is an answer.
        let &[high, low, flags, ..] = packet else { return Incoming::Nothing };
        if flags & 0x80 != 0 || packet.len() < 12 {
            return Incoming::Nothing;
        }
        let id = u16::from_be_bytes([high, low]);
        let refused = |op, code| Message::error_msg(id, op, code).to_vec().map_or(Incoming::Nothing, Incoming::Refused);
        let Ok(mut message) = Message::from_vec(packet) else { return refused(OpCode::Query, ResponseCode::FormErr) };
        if message.metadata.op_code != OpCode::Query {
            return refused(message.metadata.op_code, ResponseCode::NotImp);
        }
        let (Some(query), true) = (message.queries.pop(), message.queries.is_empty()) else {
            return refused(OpCode::Query, ResponseCode::FormErr);
        };
        if query.query_class() != DNSClass::IN {
            return refused(OpCode::Query, ResponseCode::Refused);
        }
        let (extended, payload) = (message.edns.is_some(), usize::from(message.max_payload()));
        Incoming::Question(Box::new(Question { head: message.metadata, query, extended, payload }))
    }
}

impl Question {
    /// The name that is asked for: small letters, no dot at its end.
    pub fn name(&self) -> String {
        let name = self.query.name().to_ascii().to_ascii_lowercase();
        name.strip_suffix('.').map(str::to_owned).unwrap_or(name)
    }

    /// The packet of a reply over UDP: no longer than who asks reads; what does not fit is asked for again over TCP.
    pub fn datagram(&self, reply: &Reply) -> Option<Vec<u8>> {
        let message = self.message(reply);
        let packet = message.to_vec().ok()?;
        if packet.len() <= self.payload { Some(packet) } else { message.truncate().to_vec().ok() }
    }

    /// The packet of a reply over TCP, behind its length.
    pub fn framed(&self, reply: &Reply) -> Option<Vec<u8>> {
        frame(&self.message(reply).to_vec().ok()?)
    }

    fn message(&self, reply: &Reply) -> Message {
        let mut message = Message::response(self.head.id, OpCode::Query);
        message.metadata = Metadata::response_from_request(&self.head);
        message.metadata.authoritative = true;
        message.add_query(self.query.clone());
        match reply {
            Reply::NoSuchName => message.metadata.response_code = ResponseCode::NXDomain,
            Reply::ServerFailure => message.metadata.response_code = ResponseCode::ServFail,
            // The name exists, and has nothing of another type.
            Reply::Record(_) if !matches!(self.query.query_type(), RecordType::A | RecordType::ANY) => {}
            Reply::Record(Record { addresses, ttl }) => {
                let ttl = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
                let ttl = u32::try_from(ttl).unwrap_or(u32::MAX);
                let record = |address| ResourceRecord::from_rdata(self.query.name().clone(), ttl, RData::A(A(address)));
                message.add_answers(addresses.iter().copied().map(record));
            }
        }
        if self.extended {
            let mut edns = Edns::new();
            edns.set_max_payload(OUR_PAYLOAD);
            message.set_edns(edns);
        }
        message
    }
}

/// A packet as it goes over TCP: behind its length in two bytes.
pub fn frame(packet: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(packet.len()).ok()?;
    Some([&length.to_be_bytes(), packet].concat())
}

/// The packet of a query for the addresses of a name; none where the name is none.
pub fn query(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let name = hickory_proto::rr::Name::from_ascii(format!("{name}.")).ok()?;
    message.add_query(Query::query(name, RecordType::A));
    let mut edns = Edns::new();
    edns.set_max_payload(OUR_PAYLOAD);
    message.set_edns(edns);
    message.to_vec().ok()
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Not the answer to this query: somebody else's, or no DNS.
    Foreign,
    /// There is more than a datagram holds.
    Truncated,
    /// The addresses, perhaps none, and how long they may be believed.
    Record(Record),
    /// An error by its word, such as `NXDomain`.
    Failed(String),
}

/// Reads the answer to the query of this number for this name.
pub fn answer(packet: &[u8], id: u16, name: &str) -> Heard {
    let Ok(message) = Message::from_vec(packet) else { return Heard::Foreign };
    let head = message.metadata;
    let asked = |query: &Query| query.name().to_ascii().trim_end_matches('.').eq_ignore_ascii_case(name);
    if head.id != id || head.message_type != MessageType::Response || !message.queries.iter().all(asked) {
        return Heard::Foreign;
    }
    match head.response_code {
        _ if head.truncation => Heard::Truncated,
        ResponseCode::NoError => {
            let address = |record: &ResourceRecord| match record.data {
                RData::A(A(address)) => Some((address, record.ttl)),
                _ => None,
            };
            let (addresses, ttls): (Vec<_>, Vec<u32>) = message.answers.iter().filter_map(address).unzip();
            let ttl = ttls.into_iter().min().unwrap_or_default();
            Heard::Record(Record { addresses, ttl: std::time::Duration::from_secs(u64::from(ttl)) })
        }
        code => Heard::Failed(format!("{code:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn question(packet: &[u8]) -> Question {
        match Incoming::read(packet) {
            Incoming::Question(question) => *question,
            other => panic!("{other:?}"),
        }
    }

    fn record(addresses: u8, ttl: Duration) -> Record {
        Record { addresses: (1..=addresses).map(|last| Ipv4Addr::new(127, 53, 0, last)).collect(), ttl }
    }

    #[test]
    fn what_is_asked_and_answered_comes_back() {
        let question = question(&query(77, "App.Lab.test").unwrap());
        assert_eq!(question.name(), "app.lab.test");
        for (reply, heard) in [
            // A part of a second is believed for a second: TTLs are whole ones.
            (Reply::Record(record(2, Duration::from_millis(4_200))), Heard::Record(record(2, Duration::from_secs(5)))),
            (Reply::NoSuchName, Heard::Failed("NXDomain".to_owned())),
            (Reply::ServerFailure, Heard::Failed("ServFail".to_owned())),
        ] {
            assert_eq!(answer(&question.datagram(&reply).unwrap(), 77, "app.lab.test"), heard);
            assert_eq!(answer(&question.framed(&reply).unwrap()[2..], 77, "app.lab.test"), heard);
        }
    }

    #[test]
    fn what_fits_no_datagram_is_truncated_and_whole_over_tcp() {
        let asked = query(1, "many.test").unwrap();
        let many = Reply::Record(record(200, Duration::from_secs(1)));
        let question = question(&asked);
        let datagram = question.datagram(&many).unwrap();
        assert!(datagram.len() <= usize::from(OUR_PAYLOAD));
        assert_eq!(answer(&datagram, 1, "many.test"), Heard::Truncated);
        let Heard::Record(whole) = answer(&question.framed(&many).unwrap()[2..], 1, "many.test") else { panic!() };
        assert_eq!(whole.addresses.len(), 200);
    }

    #[test]
    fn who_knows_no_edns_reads_512_bytes() {
        let mut message = Message::new(5, MessageType::Query, OpCode::Query);
        let name = hickory_proto::rr::Name::from_ascii("many.test.").unwrap();
        message.add_query(Query::query(name, RecordType::A));
        let question = question(&message.to_vec().unwrap());
        assert!(question.datagram(&Reply::Record(record(60, Duration::ZERO))).unwrap().len() <= 512);
    }

    #[test]
    fn another_s_answer_is_not_ours() {
        let packet = question(&query(7, "app.test").unwrap()).datagram(&Reply::NoSuchName).unwrap();
        assert_eq!(answer(&packet, 8, "app.test"), Heard::Foreign);
        assert_eq!(answer(&packet, 7, "other.test"), Heard::Foreign);
        assert_eq!(answer(&query(7, "app.test").unwrap(), 7, "app.test"), Heard::Foreign, "a query is no answer");
    }

    #[test]
    fn what_is_no_question_is_refused_by_its_number() {
        let code = |packet: &[u8]| match Incoming::read(packet) {
            Incoming::Refused(answer) => {
                let answer = Message::from_vec(&answer).unwrap().metadata;
                assert_eq!(answer.id, 0x1234);
                Some(answer.response_code)
            }
            _ => None,
        };
        let head = |flags: u8, questions: u8| [0x12, 0x34, flags, 0, 0, questions, 0, 0, 0, 0, 0, 0];
        assert_eq!(code(&head(0, 0)), Some(ResponseCode::FormErr), "no question");
        assert_eq!(code(&head(0, 1)), Some(ResponseCode::FormErr), "a question that is not there");
        assert_eq!(code(&head(0x28, 0)), Some(ResponseCode::NotImp), "an update");
        assert_eq!(code(&head(0x80, 0)), None, "an answer");
        assert_eq!(code(&[0x12, 0x34, 0]), None, "no head");
    }

    proptest! {
        #[test]
        fn no_packet_makes_us_panic(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Incoming::Question(question) = Incoming::read(&packet) {
                question.datagram(&Reply::NoSuchName);
                question.framed(&Reply::Record(record(3, Duration::from_secs(1))));
            }
            answer(&packet, 7, "app.test");
        }

        #[test]
        fn no_damaged_query_makes_us_panic(at in 0usize..40, byte: u8, cut in 0usize..40) {
            let mut packet = query(9, "app.lab.test").unwrap();
            let length = packet.len();
            packet[at % length] = byte;
            packet.truncate(length - cut % length);
            if let Incoming::Question(question) = Incoming::read(&packet) {
                prop_assert!(question.datagram(&Reply::Record(record(9, Duration::ZERO))).is_some());
            }
            answer(&packet, 9, "app.lab.test");
        }
    }
}
