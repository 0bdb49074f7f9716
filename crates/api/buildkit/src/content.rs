//! `containerd.services.content.v1.Content` on `/grpc`: what records of builds name by digest (provenance, traces,
//! logs, configurations of images). Only that: neither layers nor anything else of this host.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::service::Service;

/// The most bytes of one message.
const CHUNK: usize = 1 << 20;

/// `InfoRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct InfoRequest {
    #[prost(string, tag = "1")]
    digest: String,
}

/// `InfoResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct InfoResponse {
    #[prost(message, optional, tag = "1")]
    info: Option<Info>,
}

/// `Info`; times and labels are not kept.
#[derive(Clone, PartialEq, prost::Message)]
struct Info {
    #[prost(string, tag = "1")]
    digest: String,
    #[prost(int64, tag = "2")]
    size: i64,
}

/// `ReadContentRequest`; a size of 0 is all that follows.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReadRequest {
    #[prost(string, tag = "1")]
    pub(crate) digest: String,
    #[prost(int64, tag = "2")]
    pub(crate) offset: i64,
    #[prost(int64, tag = "3")]
    pub(crate) size: i64,
}

/// `ReadContentResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReadResponse {
    #[prost(int64, tag = "1")]
    pub(crate) offset: i64,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) data: Vec<u8>,
}

/// The service for one connection.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    service: Arc<Service>,
    /// What was asked for last, and its digest: clients read one blob after the other, in many small pieces.
    last: Arc<Mutex<Option<(String, Bytes)>>>,
}

impl NamedService for Content {
    const NAME: &'static str = "containerd.services.content.v1.Content";
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send>>;
type Pieces = Pin<Box<dyn Stream<Item = Result<ReadResponse, Status>> + Send>>;

impl Content {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        Self {
            service,
            last: Arc::default(),
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<(String, Bytes)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn blob(&self, digest: &str) -> Result<Bytes, Status> {
        if let Some((_, blob)) = self.last().as_ref().filter(|last| last.0 == digest) {
            return Ok(blob.clone());
        }
        let Service {
            builds, builder, ..
        } = &*self.service;
        let found = builds.history.blob(builder, digest).await?;
        let missing = || Status::not_found(format!("content {digest}: not found"));
        let blob = found.ok_or_else(missing)?;
        *self.last() = Some((digest.to_owned(), blob.clone()));
        Ok(blob)
    }
}

impl UnaryService<InfoRequest> for Content {
    type Response = InfoResponse;
    type Future = Answer<Response<InfoResponse>>;

    fn call(&mut self, request: Request<InfoRequest>) -> Self::Future {
        let content = self.clone();
        Box::pin(async move {
            let digest = request.into_inner().digest;
            let size = content.blob(&digest).await?.len();
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            Ok(Response::new(InfoResponse {
                info: Some(Info { digest, size }),
            }))
        })
    }
}

impl ServerStreamingService<ReadRequest> for Content {
    type Response = ReadResponse;
    type ResponseStream = Pieces;
    type Future = Answer<Response<Pieces>>;

    fn call(&mut self, request: Request<ReadRequest>) -> Self::Future {
        let content = self.clone();
        Box::pin(async move {
            let request = request.into_inner();
            let blob = content.blob(&request.digest).await?;
            let pieces = pieces(blob, request.offset, request.size)?;
            Ok(Response::new(stream::iter(pieces.map(Ok)).boxed()))
        })
    }
}

/// A part of a blob, in pieces.
fn pieces(
    blob: Bytes,
    offset: i64,
    size: i64,
) -> Result<impl Iterator<Item = ReadResponse> + Send, Status> {
    let outside = || Status::out_of_range(format!("read past object length {} bytes", blob.len()));
    let from = usize::try_from(offset).map_err(|_negative| outside())?;
    let wanted = usize::try_from(size).map_err(|_negative| outside())?;
    if from > blob.len() {
        return Err(outside());
    }
    let rest = blob.len() - from;
    let to = from + if wanted == 0 { rest } else { wanted.min(rest) };
    Ok((from..to).step_by(CHUNK).map(move |at| ReadResponse {
        offset: i64::try_from(at).unwrap_or(i64::MAX),
        data: blob.slice(at..to.min(at + CHUNK)).to_vec(),
    }))
}

impl tower::Service<http::Request<Body>> for Content {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let content = self.clone();
        let method = request.uri().path().rsplit('/').next().map(str::to_owned);
        Box::pin(async move {
            Ok(match method.as_deref() {
                Some("Info") => {
                    let codec = ProstCodec::<InfoResponse, InfoRequest>::default();
                    Grpc::new(codec).unary(content, request).await
                }
                Some("Read") => {
                    let codec = ProstCodec::<ReadResponse, ReadRequest>::default();
                    Grpc::new(codec).server_streaming(content, request).await
                }
                // What is written, labelled or listed belongs to a containerd.
                _ => Status::unimplemented("only Info and Read are served").into_http(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_read_in_pieces() {
        let blob = Bytes::from(vec![7; CHUNK + 10]);
        let read = |offset, size| -> Vec<(i64, usize)> {
            let pieces = pieces(blob.clone(), offset, size).unwrap();
            pieces
                .map(|piece| (piece.offset, piece.data.len()))
                .collect()
        };
        assert_eq!(read(0, 0), [(0, CHUNK), (1 << 20, 10)]);
        assert_eq!(read(5, 7), [(5, 7)]);
        assert_eq!(read(1 << 20, 100), [(1 << 20, 10)]);
        assert_eq!(read((1 << 20) + 10, 0), []);
        for (offset, size) in [(-1, 0), (0, -1), ((1 << 20) + 11, 0)] {
            assert!(pieces(blob.clone(), offset, size).is_err());
        }
    }
}
