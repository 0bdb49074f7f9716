//! Writing and reading netlink messages: a header, a family's own header, attributes.
//!
//! netlink(7). Numbers in rtnetlink attributes are in the machine's byte order, those of nfnetlink in
//! network order.

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Marks an attribute that holds attributes.
const NESTED: u16 = 0x8000;
/// What is left of an attribute's type without its flags.
const TYPE_MASK: u16 = 0x3fff;

/// `NLM_F_REQUEST`: a request to the kernel.
pub(crate) const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: answer even when all went well.
pub(crate) const ACK: u16 = 0x4;
/// `NLM_F_DUMP`: every object.
pub(crate) const DUMP: u16 = 0x300;
/// `NLM_F_REPLACE`: of a request that makes something: put it in place of the old one.
pub(crate) const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`: of a request that makes something: fail when it exists.
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_CREATE`: of a request that makes something: make it when it does not exist.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: of a rule: add it at the end.
pub(crate) const APPEND: u16 = 0x800;

/// A message that is being written.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// Begins a request of the given kind with the given flags.
    pub(crate) fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&0_u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        Self { bytes }
    }

    /// Adds bytes as they are: the header of the family.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Adds an attribute.
    pub(crate) fn attr(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// Adds an attribute that is a number in the machine's byte order.
    pub(crate) fn attr_u32(self, kind: u16, value: u32) -> Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// Adds an attribute that is a number in network order.
    pub(crate) fn attr_be32(self, kind: u16, value: u32) -> Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// Adds an attribute that is a text with a NUL after it.
    pub(crate) fn attr_str(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    /// Adds an attribute that holds what `fill` adds.
    pub(crate) fn nest(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        let mut filled = fill(self);
        let length = u16::try_from(filled.bytes.len() - start).unwrap_or(u16::MAX);
        filled.patch(start, &length.to_ne_bytes());
        filled
    }

    /// Adds flags to the header.
    pub(crate) fn flag(&mut self, flags: u16) {
        if let Some(&[low, high]) = self.bytes.get(6..8) {
            let flags = u16::from_ne_bytes([low, high]) | flags;
            self.patch(6, &flags.to_ne_bytes());
        }
    }

    /// Completes the message with its length and its sequence number.
    pub(crate) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.patch(0, &length.to_ne_bytes());
        self.patch(8, &sequence.to_ne_bytes());
        self.bytes
    }

    fn patch(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A message that was received.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    /// `nlmsg_type`.
    pub(crate) kind: u16,
    /// `nlmsg_pid`: who asked for what this message is about.
    pub(crate) port: u32,
    /// What follows the header.
    pub(crate) payload: &'a [u8],
}

/// Splits what one `recv` gave into its messages.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let message = bytes.get(..length)?;
        let received = Received {
            kind: u16_at(message, 4)?,
            port: u32_at(message, 12)?,
            payload: message.get(HEADER..)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(received)
    })
}

/// Splits a payload, or the value of an attribute, into attributes: type and value.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Returns the value of the first attribute of the given type.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(found, _)| *found == kind)
        .map(|(_, value)| value)
}

/// Reads a text that ends at its first NUL.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

/// Reads a number of the machine's byte order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)?
        .try_into()
        .ok()
        .map(u32::from_ne_bytes)
}

/// Reads a short number of the machine's byte order.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..at + 2)?
        .try_into()
        .ok()
        .map(u16::from_ne_bytes)
}

/// Reads a short number of network order.
pub(crate) fn be16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..at + 2)?
        .try_into()
        .ok()
        .map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = Message::new(16, CREATE)
            .raw(&[1, 2, 3, 4])
            .attr_str(3, "eth0")
            .nest(18, |message| message.attr_u32(4, 1500).attr(1, &[9]))
            .finish(7);
        let received: Vec<_> = messages(&bytes).collect();
        assert_eq!(received.len(), 1);
        assert_eq!(received[0].kind, 16);
        let attrs = received[0].payload.get(4..).unwrap();
        assert_eq!(text(attribute(attrs, 3).unwrap()), "eth0");
        let nested = attribute(attrs, 18).unwrap();
        assert_eq!(u32_at(attribute(nested, 4).unwrap(), 0), Some(1500));
        assert_eq!(attribute(nested, 1), Some(&[9][..]));
    }

    #[test]
    fn cut_messages_end_the_iteration() {
        let bytes = Message::new(16, 0).attr_u32(1, 2).finish(1);
        assert_eq!(messages(bytes.get(..bytes.len() - 1).unwrap()).count(), 0);
        assert_eq!(attributes(&[200, 0, 1, 0, 1]).count(), 0);
        assert_eq!(attributes(&[0, 0, 0, 0]).count(), 0);
    }
}
