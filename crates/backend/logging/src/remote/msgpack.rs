//! As much of MessagePack as the forward protocol needs.

/// Appends the head of an array.
pub(crate) fn array(length: u8, out: &mut Vec<u8>) {
    out.push(0x90 | (length & 0x0f));
}

/// Appends the head of a map.
pub(crate) fn map(length: usize, out: &mut Vec<u8>) {
    match u16::try_from(length) {
        Ok(short @ 0..16) => out.push(0x80 | short.to_le_bytes()[0]),
        short => {
            out.push(0xde);
            out.extend_from_slice(&short.unwrap_or(u16::MAX).to_be_bytes());
        }
    }
}

/// Appends a string.
pub(crate) fn string(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let [_, _, high, low] = length.to_be_bytes();
    match length {
        0..32 => out.push(0xa0 | low),
        32..256 => out.extend_from_slice(&[0xd9, low]),
        256..65_536 => out.extend_from_slice(&[0xda, high, low]),
        _ => {
            out.push(0xdb);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

/// Appends a number.
pub(crate) fn integer(number: i64, out: &mut Vec<u8>) {
    out.push(0xd3);
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends Fluentd's `EventTime`.
pub(crate) fn event_time(seconds: u32, nanoseconds: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xd7, 0x00]);
    out.extend_from_slice(&seconds.to_be_bytes());
    out.extend_from_slice(&nanoseconds.to_be_bytes());
}

/// What is at the beginning of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// `{"ack": ..}`, and how many bytes it takes.
    Ack(&'a [u8], usize),
    /// More is to come.
    Incomplete,
    /// Something else.
    Other,
}

/// Reads an answer to a request for an acknowledgement.
pub(crate) fn answer(bytes: &[u8]) -> Answer<'_> {
    let Some((&head, rest)) = bytes.split_first() else {
        return Answer::Incomplete;
    };
    if head != 0x81 {
        return Answer::Other;
    }
    let read = text(rest).and_then(|(name, rest)| Ok((name, text(rest)?)));
    match read {
        Ok((b"ack", (chunk, rest))) => Answer::Ack(chunk, bytes.len() - rest.len()),
        Ok(_) | Err(true) => Answer::Other,
        Err(false) => Answer::Incomplete,
    }
}

/// A string, and what follows it. An error says whether it is something else, rather than incomplete.
fn text(bytes: &[u8]) -> Result<(&[u8], &[u8]), bool> {
    let (length, rest) = match bytes {
        [head @ 0xa0..=0xbf, rest @ ..] => (usize::from(head & 0x1f), rest),
        [0xd9 | 0xc4, length, rest @ ..] => (usize::from(*length), rest),
        [0xda | 0xc5, high, low, rest @ ..] => {
            (usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        [] | [0xd9 | 0xc4 | 0xda | 0xc5, ..] => return Err(false),
        _ => return Err(true),
    };
    rest.split_at_checked(length).ok_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_choose_the_shortest_form() {
        for (length, head) in [
            (5, &[0xa5][..]),
            (200, &[0xd9, 200]),
            (300, &[0xda, 1, 44]),
            (65_536, &[0xdb, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            string(&vec![b'x'; length], &mut out);
            assert_eq!(&out[..head.len()], head);
            assert_eq!(out.len(), head.len() + length);
        }
    }

    #[test]
    fn acknowledgements_are_read() {
        let ack = b"\x81\xa3ack\xa3one\x81";
        assert_eq!(answer(ack), Answer::Ack(b"one", 9));
        for end in 0..9 {
            assert_eq!(answer(&ack[..end]), Answer::Incomplete, "{end}");
        }
        assert_eq!(answer(b"\x81\xa3nak\xa3one"), Answer::Other);
        assert_eq!(answer(b"HTTP"), Answer::Other);
    }
}
