//! Content from an address that is no registry's: archives to import.

use std::time::SystemTime;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::auth::Secret;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::failure::status_text;
use crate::registry::Registry;
use crate::transport::describe;

/// Bodies of errors are shown up to this many bytes.
const SHOWN: usize = 1024;

/// What an address has.
pub struct Fetched {
    /// Its size in bytes, where the server says it.
    pub size: Option<u64>,
    /// When it was changed last, where the server says it (RFC 9110, `Last-Modified`).
    pub modified: Option<SystemTime>,
    /// Its content.
    pub content: Box<dyn Stream<Item = std::io::Result<Bytes>> + Send + Unpin>,
}

impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetched")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

fn header_map(headers: &[(String, Secret)]) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let mut value = HeaderValue::from_str(value.expose()).ok()?;
        value.set_sensitive(true);
        map.insert(name, value);
    }
    Some(map)
}

impl Registry {
    /// Fetches what is at an `http` or `https` address, through the proxies and with the certificates
    /// that registries are reached with. `host/path` alone means `http`.
    ///
    /// # Errors
    /// [`Error::Endpoint`] when it is not such an address, [`Error::Fetch`] when the server refuses;
    /// failures of the connection.
    pub async fn fetch(&self, address: &str) -> Result<Fetched, Error> {
        self.fetch_with(address, &[]).await
    }

    /// As [`Registry::fetch`], with headers. A redirection to another host does not get `authorization`.
    ///
    /// # Errors
    /// As [`Registry::fetch`]; [`Error::Endpoint`] also for a header that is none.
    pub async fn fetch_with(
        &self,
        address: &str,
        headers: &[(String, Secret)],
    ) -> Result<Fetched, Error> {
        let whole = if address.contains("://") {
            address.to_owned()
        } else {
            format!("http://{address}")
        };
        let invalid = || Error::Endpoint(address.to_owned());
        let url = Url::parse(&whole).ok().ok_or_else(invalid)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid());
        }
        let host = url.host_str().ok_or_else(invalid)?.to_owned();
        let authority = url
            .port()
            .map_or(host.clone(), |port| format!("{host}:{port}"));
        let default_port = url.port_or_known_default().unwrap_or(80);
        let sent = self
            .client(&Endpoint::new(
                &format!("{}://{authority}", url.scheme()),
                false,
            ))
            .await?
            .get(url)
            .headers(header_map(headers).ok_or_else(invalid)?)
            .send()
            .await;
        let mut response =
            sent.map_err(|error| describe(&error, &authority, default_port).during("Get", &whole))?;
        let status = response.status();
        if !status.is_success() {
            let mut body = Vec::new();
            while let Ok(Some(chunk)) = response.chunk().await {
                body.extend_from_slice(&chunk);
                if body.len() >= SHOWN {
                    break;
                }
            }
            body.truncate(SHOWN);
            let body = String::from_utf8_lossy(&body).into_owned();
            return Err(Error::Fetch {
                url: whole,
                status: status_text(status),
                body,
            });
        }
        let size = response.content_length();
        let modified = response.headers().get(http::header::LAST_MODIFIED);
        let modified =
            modified.and_then(|value| httpdate::parse_http_date(value.to_str().ok()?).ok());
        let content = Box::new(response.bytes_stream().map_err(std::io::Error::other));
        Ok(Fetched {
            size,
            modified,
            content,
        })
    }
}
