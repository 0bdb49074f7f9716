//! Blobs: streamed, and resumed where the connection broke.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};
use http::{HeaderValue, Method, StatusCode};
use reqwest::Response;

use crate::descriptor::Descriptor;
use crate::error::Error;
use crate::remote::{Call, Remote};
use crate::transport::describe;

/// What a download yields next.
#[derive(Debug)]
pub enum Piece {
    /// Bytes, which follow those that came before.
    Data(Bytes),
    /// The connection broke; the download goes on after this pause, which the next call waits for.
    Retrying(Duration),
}

/// A blob on its way. Dropping it ends the download. The digest is for the receiver to check; the size
/// is checked here.
#[derive(Debug)]
pub struct Blob {
    remote: Remote,
    descriptor: Descriptor,
    received: u64,
    failures: u32,
    /// What a server that does not know ranges sent beyond the place of resumption.
    surplus: Option<Bytes>,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed,
    Pausing(Duration),
    Open(Box<Response>),
}

impl Remote {
    /// Begins the download of a blob at byte `offset`. The first request is sent by the first
    /// [`Blob::next`].
    #[must_use]
    pub fn blob(&self, descriptor: &Descriptor, offset: u64) -> Blob {
        Blob {
            remote: self.clone(),
            descriptor: descriptor.clone(),
            received: offset,
            failures: 0,
            surplus: None,
            state: State::Closed,
        }
    }

    /// Fetches a small blob as a whole, at most `limit` bytes.
    ///
    /// # Errors
    /// [`Error::BlobSize`] when its descriptor says more than `limit`, or as [`Blob::next`].
    pub async fn small_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes, Error> {
        if descriptor.size > limit {
            return Err(Error::BlobSize {
                digest: descriptor.digest.clone(),
                expected: limit,
                actual: descriptor.size,
            });
        }
        let mut blob = self.blob(descriptor, 0);
        let mut bytes = bytes::BytesMut::new();
        while let Some(piece) = blob.next().await? {
            if let Piece::Data(data) = piece {
                bytes.extend_from_slice(&data);
            }
        }
        Ok(bytes.freeze())
    }
}

impl Blob {
    /// Returns how many bytes have come, with those before the offset.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Returns what comes next, or `None` when the blob is complete.
    ///
    /// # Errors
    /// [`Error::BlobSize`] when the registry has more or fewer bytes than the descriptor says; what went
    /// wrong last, when all attempts are used up; what the registry says when it refuses.
    pub async fn next(&mut self) -> Result<Option<Piece>, Error> {
        if let State::Pausing(pause) = self.state {
            tokio::time::sleep(pause).await;
            self.state = State::Closed;
        }
        if matches!(self.state, State::Closed) {
            if self.received == self.descriptor.size {
                return Ok(None);
            }
            match self.open().await {
                Ok(response) => self.state = State::Open(Box::new(response)),
                Err(error) => return self.pause_after(error),
            }
        }
        if let Some(data) = self.surplus.take() {
            return self.count(data).map(Some);
        }
        let State::Open(response) = &mut self.state else {
            return Ok(None);
        };
        match response.chunk().await {
            Ok(Some(data)) => self.count(data).map(Some),
            Ok(None) if self.received == self.descriptor.size => Ok(None),
            Ok(None) => {
                let error = Error::Transport {
                    text: "unexpected EOF".to_owned(),
                    retry: true,
                };
                self.pause_after(error)
            }
            Err(error) => {
                let url = response.url();
                let described = describe(&error, url.authority(), 443);
                let error = described.during("Get", &without_query(url));
                self.pause_after(error)
            }
        }
    }

    fn count(&mut self, data: Bytes) -> Result<Piece, Error> {
        self.received += data.len() as u64;
        // Attempts are counted anew when there is progress.
        self.failures = 0;
        if self.received > self.descriptor.size {
            return Err(self.wrong_size());
        }
        Ok(Piece::Data(data))
    }

    fn wrong_size(&self) -> Error {
        Error::BlobSize {
            digest: self.descriptor.digest.clone(),
            expected: self.descriptor.size,
            actual: self.received,
        }
    }

    /// Decides whether a failure is worth another attempt.
    fn pause_after(&mut self, error: Error) -> Result<Option<Piece>, Error> {
        let config = self.remote.registry().config();
        self.failures += 1;
        if !error.is_temporary() || self.failures >= config.max_attempts {
            return Err(error);
        }
        tracing::debug!(digest = %self.descriptor.digest, received = self.received, %error, "download broke");
        let pause = error.wait().unwrap_or(config.retry_pause * self.failures);
        self.state = State::Pausing(pause);
        Ok(Some(Piece::Retrying(pause)))
    }

    /// Asks for what is missing.
    async fn open(&mut self) -> Result<Response, Error> {
        let path = self
            .remote
            .path(&format!("blobs/{}", self.descriptor.digest));
        let mut call = Call::new(Method::GET, path);
        call.headers
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if self.received > 0 {
            let range = format!("bytes={}-", self.received);
            let value = HeaderValue::try_from(range).ok().ok_or(Error::Closed)?;
            call.headers.insert(RANGE, value);
        }
        call.patient = false;
        // A mirror that breaks again and again is left for the registry itself.
        call.past_mirrors = self.failures > 1;
        let mut response = self.remote.call(&call).await?;
        if self.received == 0 {
            self.check_length(&response)?;
        } else if response.status() == StatusCode::PARTIAL_CONTENT {
            self.check_range(&response)?;
        } else {
            self.skip(&mut response).await?;
        }
        Ok(response)
    }

    fn check_length(&self, response: &Response) -> Result<(), Error> {
        match response.content_length() {
            Some(actual) if actual != self.descriptor.size => Err(Error::BlobSize {
                digest: self.descriptor.digest.clone(),
                expected: self.descriptor.size,
                actual,
            }),
            _ => Ok(()),
        }
    }

    /// `Content-Range: bytes <from>-<to>/<size>` has to begin where the download stopped.
    fn check_range(&self, response: &Response) -> Result<(), Error> {
        let value = response
            .headers()
            .get(CONTENT_RANGE)
            .and_then(|value| value.to_str().ok());
        let from = value
            .and_then(|value| value.strip_prefix("bytes "))
            .and_then(|value| value.split('-').next())
            .and_then(|from| from.trim().parse::<u64>().ok());
        if from == Some(self.received) {
            return Ok(());
        }
        Err(Error::Range {
            wanted: self.received,
            got: value.unwrap_or_default().to_owned(),
        })
    }

    /// The server does not know ranges and began anew: passes over what is there already.
    async fn skip(&mut self, response: &mut Response) -> Result<(), Error> {
        let url = without_query(response.url());
        let authority = response.url().authority().to_owned();
        let mut left = self.received;
        while left > 0 {
            let chunk = response.chunk().await;
            let chunk =
                chunk.map_err(|error| describe(&error, &authority, 443).during("Get", &url))?;
            let Some(mut chunk) = chunk else {
                return Err(Error::Transport {
                    text: "unexpected EOF".to_owned(),
                    retry: true,
                });
            };
            let covered = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
            left -= covered as u64;
            if covered < chunk.len() {
                self.surplus = Some(chunk.split_off(covered));
            }
        }
        Ok(())
    }
}

/// Addresses that registries redirect to are signed in their query.
fn without_query(url: &reqwest::Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}
