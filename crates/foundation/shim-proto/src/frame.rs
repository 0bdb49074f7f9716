//! One frame: a header of 16 bytes, then JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest payload in bytes.
pub const MAX_PAYLOAD: usize = 16 << 20;

/// The most descriptors that one frame carries (the kernel takes 253 per message).
pub const MAX_DESCRIPTORS: usize = 128;

pub(crate) const HEADER: usize = 16;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A [`crate::Request`].
    Request,
    /// A [`crate::Response`].
    Response,
    /// A [`crate::Event`].
    Event,
    /// Something newer, to be ignored.
    Unknown(u8),
}

/// A frame that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// It announces more than [`MAX_PAYLOAD`] bytes or [`MAX_DESCRIPTORS`] descriptors.
    #[error("frame of {bytes} bytes with {descriptors} descriptors is too large")]
    TooLarge {
        /// The bytes of its payload.
        bytes: usize,
        /// Its descriptors.
        descriptors: usize,
    },
    /// It is not what it has to be in this version of the protocol.
    #[error("cannot decode frame")]
    Decode(#[source] serde_json::Error),
    /// A message cannot be written as JSON.
    #[error("cannot encode frame")]
    Encode(#[source] serde_json::Error),
}

/// One frame, without its descriptors.
#[derive(Debug, Clone)]
pub struct Frame {
    /// What it is.
    pub kind: FrameKind,
    /// Joins a response to its request; 0 in events.
    pub number: u64,
    /// The message as JSON.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Makes a frame of a message.
    ///
    /// # Errors
    /// [`FrameError::Encode`] when it cannot be JSON, [`FrameError::TooLarge`].
    pub fn encode<T: Serialize>(
        kind: FrameKind,
        number: u64,
        message: &T,
    ) -> Result<Self, FrameError> {
        let payload = serde_json::to_vec(message).map_err(FrameError::Encode)?;
        if payload.len() > MAX_PAYLOAD {
            return Err(FrameError::TooLarge {
                bytes: payload.len(),
                descriptors: 0,
            });
        }
        Ok(Self {
            kind,
            number,
            payload,
        })
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`FrameError::Decode`] when it is not a `T` of this version.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        serde_json::from_slice(&self.payload).map_err(FrameError::Decode)
    }

    /// Writes the frame as it travels, `descriptors` being how many come with it.
    pub(crate) fn to_bytes(&self, descriptors: u8) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEADER + self.payload.len());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.push(match self.kind {
            FrameKind::Request => 1,
            FrameKind::Response => 2,
            FrameKind::Event => 3,
            FrameKind::Unknown(kind) => kind,
        });
        bytes.push(descriptors);
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) length: usize,
    pub(crate) kind: FrameKind,
    pub(crate) descriptors: usize,
    pub(crate) number: u64,
}

impl Header {
    /// Reads a header from the beginning of `bytes`; `None` when it is not complete.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let Some((&[kind, descriptors, _, _], rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let Some((number, _)) = rest.split_first_chunk::<8>() else {
            return Ok(None);
        };
        let header = Self {
            length: usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX),
            kind: match kind {
                1 => FrameKind::Request,
                2 => FrameKind::Response,
                3 => FrameKind::Event,
                other => FrameKind::Unknown(other),
            },
            descriptors: usize::from(descriptors),
            number: u64::from_le_bytes(*number),
        };
        if header.length > MAX_PAYLOAD || header.descriptors > MAX_DESCRIPTORS {
            return Err(FrameError::TooLarge {
                bytes: header.length,
                descriptors: header.descriptors,
            });
        }
        Ok(Some(header))
    }
}
