//! DNS messages, as far as a resolver for names of its own needs them (RFC 1035, RFC 6891).
//!
//! A query is read up to the end of its question; everything else passes through untouched.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length of the header.
const HEADER: usize = 12;
/// The longest name, in its wire form.
const NAME: usize = 255;
/// The class of the internet.
const IN: u16 = 1;
/// How long an answer of ours may be kept, seconds.
const TTL: u32 = 600;
/// What a client takes by UDP when it does not say.
const UDP_SIZE: usize = 512;

/// Types of records.
pub(crate) mod kind {
    /// An IPv4 address.
    pub(crate) const A: u16 = 1;
    /// Who is responsible for a zone, and for how long it is good that something is not there.
    pub(crate) const SOA: u16 = 6;
    /// A name that belongs to an address.
    pub(crate) const PTR: u16 = 12;
    /// An IPv6 address.
    pub(crate) const AAAA: u16 = 28;
    /// Any type.
    pub(crate) const ANY: u16 = 255;
    /// Extensions: not a record of a name.
    pub(crate) const OPT: u16 = 41;
}

/// Outcomes.
pub(crate) mod code {
    /// There is an answer, or the name exists without a record of the type.
    pub(crate) const OK: u8 = 0;
    /// The question cannot be understood.
    pub(crate) const FORMAT: u8 = 1;
    /// The server failed.
    pub(crate) const SERVER: u8 = 2;
    /// There is no such name.
    pub(crate) const NO_NAME: u8 = 3;
    /// The server does not want to answer.
    pub(crate) const REFUSED: u8 = 5;
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    /// The name in lower case, without the dot at the end.
    pub(crate) name: String,
    /// The type of record.
    pub(crate) kind: u16,
    /// Whether it is about the internet.
    pub(crate) is_internet: bool,
    /// The longest answer that the client takes by UDP, bytes.
    pub(crate) size: usize,
    /// Where the question ends.
    end: usize,
}

/// Data of an answer's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// An address.
    Address(IpAddr),
    /// A name.
    Name(String),
}

/// The number that joins an answer to its query.
pub(crate) fn id(message: &[u8]) -> Option<u16> {
    be16(message, 0)
}

/// Replaces the number that joins an answer to its query.
pub(crate) fn set_id(message: &mut [u8], id: u16) {
    if let Some(place) = message.get_mut(..2) {
        place.copy_from_slice(&id.to_be_bytes());
    }
}

/// Whether an answer was cut because it did not fit.
#[cfg(test)]
pub(crate) fn is_truncated(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

/// The outcome that an answer tells.
pub(crate) fn outcome(message: &[u8]) -> Option<u8> {
    message.get(3).map(|flags| flags & 0x0f)
}

/// Reads a query; `None` for anything that is not one question of a client.
pub(crate) fn parse(message: &[u8]) -> Option<Query> {
    let flags = *message.get(2)?;
    // An answer, or something else than a plain query.
    if flags & 0xf8 != 0 || be16(message, 4)? != 1 {
        return None;
    }
    let (name, at) = read_name(message, HEADER)?;
    let end = at + 4;
    Some(Query {
        name,
        kind: be16(message, at)?,
        is_internet: be16(message, at + 2)? == IN,
        size: udp_size(message, end).unwrap_or(UDP_SIZE).max(UDP_SIZE),
        end,
    })
}

/// Whether an answer belongs to a query: the same question, whatever the case of its letters.
pub(crate) fn answers(answer: &[u8], query: &[u8], of: &Query) -> bool {
    let question = |message: &[u8]| message.get(HEADER..of.end).map(<[u8]>::to_ascii_lowercase);
    answer.get(2).is_some_and(|flags| flags & 0x80 != 0)
        && be16(answer, 4) == Some(1)
        && question(answer) == question(query)
}

/// Reads a name that is not compressed: questions never are.
fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => return Some((name, at)),
            1..=63 => {
                let label = message.get(at..at + length)?;
                if !name.is_empty() {
                    name.push('.');
                }
                name.extend(
                    label
                        .iter()
                        .map(|byte| char::from(byte.to_ascii_lowercase())),
                );
                at += length;
            }
            _ => return None,
        }
        if name.len() > NAME {
            return None;
        }
    }
}

/// What the client says it takes by UDP, in a record after the question that has the root as its name.
fn udp_size(message: &[u8], end: usize) -> Option<usize> {
    let sections = [be16(message, 6)?, be16(message, 8)?];
    if sections != [0, 0] || *message.get(end)? != 0 || be16(message, end + 1)? != kind::OPT {
        return None;
    }
    be16(message, end + 3).map(usize::from)
}

/// Composes an answer of ours to `query`, whose bytes are `message`.
pub(crate) fn respond(message: &[u8], query: &Query, code: u8, answers: &[Answer]) -> Vec<u8> {
    let mut response = header(message, code);
    response.extend(message.get(HEADER..query.end).unwrap_or_default());
    let mut count = 0_u16;
    for answer in answers {
        let (kind, data) = match answer {
            Answer::Address(IpAddr::V4(address)) => (kind::A, address.octets().to_vec()),
            Answer::Address(IpAddr::V6(address)) => (kind::AAAA, address.octets().to_vec()),
            Answer::Name(name) => (kind::PTR, write_name(name)),
        };
        let Ok(length) = u16::try_from(data.len()) else {
            continue;
        };
        // The name is that of the question, which begins after the header.
        response.extend([0xc0, 0x0c]);
        response.extend(kind.to_be_bytes());
        response.extend(IN.to_be_bytes());
        response.extend(TTL.to_be_bytes());
        response.extend(length.to_be_bytes());
        response.extend(data);
        count += 1;
    }
    set_count(&mut response, 4, 1);
    set_count(&mut response, 6, count);
    response
}

/// Composes an answer to what cannot be understood.
pub(crate) fn malformed(message: &[u8]) -> Option<Vec<u8>> {
    let is_query = message.get(2).is_some_and(|flags| flags & 0x80 == 0);
    (is_query && message.len() >= HEADER).then(|| header(message, code::FORMAT))
}

/// Cuts an answer that is longer than the client takes by UDP: it will ask again by TCP.
pub(crate) fn fit(response: Vec<u8>, query: &Query) -> Vec<u8> {
    if response.len() <= query.size {
        return response;
    }
    let mut cut: Vec<u8> = response.get(..query.end).unwrap_or_default().to_vec();
    if let Some(flags) = cut.get_mut(2) {
        *flags |= 0x02;
    }
    for section in [6, 8, 10] {
        set_count(&mut cut, section, 0);
    }
    cut
}

/// For how many seconds an answer of somebody else is good (RFC 2181, RFC 2308); `None` when it is not one
/// that should be kept.
pub(crate) fn good_for(answer: &[u8]) -> Option<u32> {
    let is_cut = answer.get(2)? & 0x02 != 0;
    let outcome = outcome(answer)?;
    if is_cut || ![code::OK, code::NO_NAME].contains(&outcome) {
        return None;
    }
    let records = records(answer)?;
    let has_answer = be16(answer, 6)? > 0;
    let good = records
        .iter()
        .filter(|record| record.kind != kind::OPT)
        .map(|record| record.ttl)
        .min()?;
    if has_answer {
        return Some(good);
    }
    // Nothing there: for as long as the zone says.
    let zone = records.iter().find(|record| record.kind == kind::SOA)?;
    let least = be32(answer, zone.end.checked_sub(4)?)?;
    Some(good.min(least))
}

/// Takes seconds off the time that an answer is good for.
pub(crate) fn grow_older(answer: &mut [u8], by: u32) {
    for record in records(answer).unwrap_or_default() {
        if record.kind == kind::OPT {
            continue;
        }
        let left = record.ttl.saturating_sub(by);
        if let Some(place) = answer.get_mut(record.ttl_at..record.ttl_at + 4) {
            place.copy_from_slice(&left.to_be_bytes());
        }
    }
}

/// Where a record of an answer is.
struct Place {
    kind: u16,
    ttl: u32,
    ttl_at: usize,
    end: usize,
}

/// The records after the question; `None` when the message is not well formed.
fn records(message: &[u8]) -> Option<Vec<Place>> {
    let (_, after) = read_name(message, HEADER)?;
    let mut at = after + 4;
    let count = [6, 8, 10]
        .into_iter()
        .map(|section| be16(message, section).map(usize::from))
        .sum::<Option<usize>>()?;
    let mut places = Vec::new();
    for _ in 0..count {
        at = skip_name(message, at)?;
        let length = usize::from(be16(message, at + 8)?);
        let end = at + 10 + length;
        message.get(..end)?;
        places.push(Place {
            kind: be16(message, at)?,
            ttl: be32(message, at + 4)?,
            ttl_at: at + 4,
            end,
        });
        at = end;
    }
    Some(places)
}

/// Where a name ends that may be compressed.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// The address that a name of the reverse tree stands for.
pub(crate) fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let bytes: Vec<u8> = digits
            .split('.')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        let [d, c, b, a] = *bytes.as_slice() else {
            return None;
        };
        return Some(Ipv4Addr::new(a, b, c, d).into());
    }
    let digits = name.strip_suffix(".ip6.arpa")?;
    let nibbles: Vec<u8> = digits
        .split('.')
        .map(|digit| {
            u8::from_str_radix(digit, 16)
                .ok()
                .filter(|_| digit.len() == 1)
        })
        .collect::<Option<_>>()?;
    let value = nibbles
        .iter()
        .rev()
        .fold(0_u128, |value, nibble| (value << 4) | u128::from(*nibble));
    (nibbles.len() == 32).then(|| Ipv6Addr::from(value).into())
}

fn header(message: &[u8], code: u8) -> Vec<u8> {
    let mut header = message.get(..HEADER).unwrap_or_default().to_vec();
    // An answer; recursion as desired, and available.
    if let Some(flags) = header.get_mut(2..4) {
        let desired = flags.first().map_or(0, |flags| flags & 0x01);
        flags.copy_from_slice(&[0x80 | desired, 0x80 | code]);
    }
    for section in [4, 6, 8, 10] {
        set_count(&mut header, section, 0);
    }
    header
}

fn set_count(message: &mut [u8], at: usize, count: u16) {
    if let Some(place) = message.get_mut(at..at + 2) {
        place.copy_from_slice(&count.to_be_bytes());
    }
}

fn write_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name
        .split('.')
        .filter(|label| (1..64).contains(&label.len()))
    {
        bytes.extend(u8::try_from(label.len()));
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}

fn be16(message: &[u8], at: usize) -> Option<u16> {
    message
        .get(at..at + 2)?
        .try_into()
        .ok()
        .map(u16::from_be_bytes)
}

fn be32(message: &[u8], at: usize) -> Option<u32> {
    message
        .get(at..at + 4)?
        .try_into()
        .ok()
        .map(u32::from_be_bytes)
}

/// Composes a query, as clients do.
#[cfg(test)]
pub(crate) fn ask(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(write_name(name));
    message.extend(kind.to_be_bytes());
    message.extend(IN.to_be_bytes());
    message
}

/// The addresses in an answer of ours.
#[cfg(test)]
pub(crate) fn addresses(response: &[u8], query: &Query) -> Vec<IpAddr> {
    let mut at = query.end;
    let mut found = Vec::new();
    while let Some(length) = be16(response, at + 10) {
        let data = &response[at + 12..at + 12 + usize::from(length)];
        found.extend(crate::netlink::address::parse_ip(data));
        at += 12 + usize::from(length);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_answered() {
        let message = ask("DB.Example", kind::A);
        let query = parse(&message).unwrap();
        assert_eq!(
            (query.name.as_str(), query.kind, query.size),
            ("db.example", kind::A, 512)
        );
        let address: IpAddr = "10.0.0.2".parse().unwrap();
        let response = respond(&message, &query, code::OK, &[Answer::Address(address)]);
        assert_eq!(id(&response), Some(0x1234));
        assert_eq!(outcome(&response), Some(code::OK));
        assert!(answers(&response, &message, &query));
        assert_eq!(addresses(&response, &query), [address]);
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let message = ask("a", kind::A);
        for end in 0..message.len() {
            assert_eq!(parse(&message[..end]), None);
        }
        let mut looping = ask("", kind::A);
        looping[HEADER] = 0xc0;
        looping.insert(HEADER + 1, 0x0c);
        assert_eq!(parse(&looping), None);
        let long = ask(&["a".repeat(63).as_str(); 5].join("."), kind::A);
        assert_eq!(parse(&long), None);
        let mut answer = message;
        answer[2] |= 0x80;
        assert_eq!(parse(&answer), None);
        assert_eq!(malformed(&answer), None);
    }

    #[test]
    fn answers_that_do_not_fit_are_cut() {
        let message = ask("many", kind::A);
        let query = parse(&message).unwrap();
        let address = Answer::Address("10.0.0.2".parse().unwrap());
        let response = respond(&message, &query, code::OK, &vec![address; 100]);
        let cut = fit(response, &query);
        assert!(is_truncated(&cut) && cut.len() == message.len());
    }

    #[test]
    fn the_clients_size_is_honoured() {
        let mut message = ask("a", kind::A);
        message[11] = 1;
        message.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(parse(&message).unwrap().size, 4096);
    }

    #[test]
    fn names_of_addresses_are_read() {
        let ip = |text: &str| text.parse::<IpAddr>().ok();
        assert_eq!(reverse("2.0.17.172.in-addr.arpa"), ip("172.17.0.2"));
        let six = format!("2.{}0.0.d.f.ip6.arpa", "0.".repeat(27));
        assert_eq!(reverse(&six), ip("fd00::2"));
        for bad in [
            "in-addr.arpa",
            "1.2.3.in-addr.arpa",
            "x.0.17.172.in-addr.arpa",
            "example",
        ] {
            assert_eq!(reverse(bad), None);
        }
    }
}
