//! One plugin, and how it is asked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpStream, UnixStream};

use crate::error::Error;

/// The version of the protocol, as a media type.
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";
/// The most that an answer may hold.
const LARGEST: usize = 16 << 20;
/// How long a plugin may take to answer: mounting something remote is slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a plugin listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A socket of the host.
    Unix(PathBuf),
    /// A host and a port.
    Tcp(String),
}

/// A plugin that has been activated. A cheap handle.
#[derive(Debug, Clone)]
pub struct Plugin(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    address: Address,
    kinds: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Activated {
    #[serde(default)]
    implements: Vec<String>,
}

/// What every answer may have: the plugin's own error.
#[derive(Debug, Default, Deserialize)]
struct Failure {
    #[serde(rename = "Err", default)]
    message: Option<String>,
}

impl Plugin {
    /// Says hello (`Plugin.Activate`) and learns what the plugin implements.
    pub(crate) async fn activate(name: &str, address: Address) -> Result<Self, Error> {
        let asked = Self::unknown(name, address.clone());
        let found: Activated = asked.call("Plugin.Activate", &()).await?;
        tracing::info!(plugin = name, kinds = ?found.implements, "activated");
        Ok(Self(Arc::new(Inner {
            name: name.to_owned(),
            address,
            kinds: found.implements,
        })))
    }

    fn unknown(name: &str, address: Address) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            address,
            kinds: Vec::new(),
        }))
    }

    /// The plugin's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it is a driver of this kind, such as `VolumeDriver`.
    #[must_use]
    pub fn implements(&self, kind: &str) -> bool {
        self.0.kinds.iter().any(|known| known == kind)
    }

    /// Asks `method`, such as `VolumeDriver.Mount`.
    ///
    /// # Errors
    /// [`Error::Refused`] with the plugin's own words; [`Error::Connect`], [`Error::Answer`],
    /// [`Error::Timeout`].
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        arguments: &impl Serialize,
    ) -> Result<T, Error> {
        let answered = tokio::time::timeout(PATIENCE, self.ask(method, arguments)).await;
        answered.unwrap_or_else(|_elapsed| {
            let (name, method) = (self.0.name.clone(), method.to_owned());
            Err(Error::Timeout { name, method })
        })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        arguments: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(arguments).map_err(|error| self.bad(method, error))?;
        let request = http::Request::post(format!("/{method}"))
            .header(http::header::HOST, "plugin")
            .header(http::header::ACCEPT, MEDIA_TYPE)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.bad(method, error))?;
        let (status, answer) = match &self.0.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                let stream = stream.map_err(|source| self.unreachable(source))?;
                self.exchange(method, TokioIo::new(stream), request).await?
            }
            Address::Tcp(host) => {
                let stream = TcpStream::connect(host).await;
                let stream = stream.map_err(|source| self.unreachable(source))?;
                self.exchange(method, TokioIo::new(stream), request).await?
            }
        };
        let failure: Failure = serde_json::from_slice(&answer).unwrap_or_default();
        let said = failure.message.filter(|message| !message.is_empty());
        match said {
            Some(said) if status.is_success() => return Err(Error::Refused(said)),
            None if status.is_success() => {}
            said => {
                let text = || String::from_utf8_lossy(&answer).trim().to_owned();
                let said = said.unwrap_or_else(text);
                return Err(Error::Refused(format!("{method}: {said}")));
            }
        }
        let answer = if answer.is_empty() { b"{}" } else { &*answer };
        serde_json::from_slice(answer).map_err(|error| self.bad(method, error))
    }

    /// Sends a request on a connection of its own.
    async fn exchange<S>(
        &self,
        method: &str,
        stream: S,
        request: http::Request<Full<Bytes>>,
    ) -> Result<(http::StatusCode, Bytes), Error>
    where
        S: hyper::rt::Read + hyper::rt::Write + Unpin,
    {
        let bad = |error: hyper::Error| self.bad(method, error);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
            .await
            .map_err(bad)?;
        let exchange = async move {
            let answer = sender.send_request(request).await?;
            Ok::<_, hyper::Error>((answer.status(), answer.into_body()))
        };
        let read = async {
            let (status, body) = exchange.await.map_err(bad)?;
            let body = Limited::new(body, LARGEST).collect().await;
            let body = body.map_err(|error| self.bad(method, error))?;
            Ok((status, body.to_bytes()))
        };
        tokio::pin!(read, connection);
        tokio::select! {
            answer = &mut read => answer,
            // The connection has said all; what it brought is still to be read.
            ended = &mut connection => match ended {
                Ok(()) => read.await,
                Err(error) => Err(bad(error)),
            },
        }
    }

    fn unreachable(&self, source: std::io::Error) -> Error {
        let name = self.0.name.clone();
        Error::Connect { name, source }
    }

    fn bad(
        &self,
        method: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::Answer {
            name: self.0.name.clone(),
            method: method.to_owned(),
            source: source.into(),
        }
    }
}
