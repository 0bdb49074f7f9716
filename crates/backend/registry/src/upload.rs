//! The bytes of a blob on their way to a registry: as a whole, or in a stream whose end is not known.

use std::io;
use std::sync::Arc;

use arca_types::Digest;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method};
use reqwest::{Body, Response, Url};
use tokio::sync::Notify;

use crate::descriptor::Descriptor;
use crate::error::Error;
use crate::failure::success;
use crate::push::pushing;
use crate::remote::{Call, Remote};
use crate::transport::describe;

/// A registry may be silent for so many times the usual while it takes in what came.
const PATIENCE: u32 = 5;

/// An upload that has begun: where the registry wants the content. Dropping it leaves it to the registry,
/// which forgets it in time.
#[derive(Debug)]
pub struct Upload {
    url: Url,
}

impl Upload {
    /// Reads `Location`.
    pub(crate) fn at(response: &Response) -> Result<Self, Error> {
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let url = response.url().join(location).ok();
        let url = url.ok_or_else(|| Error::Endpoint(location.to_owned()))?;
        Ok(Self { url })
    }

    /// The address that ends the upload.
    fn ended(mut self, digest: &Digest) -> String {
        self.url
            .query_pairs_mut()
            .append_pair("digest", digest.as_str());
        self.url.into()
    }
}

impl Remote {
    /// Sends a blob of a known digest and size, and ends the upload.
    ///
    /// # Errors
    /// As the registry or the connection says.
    pub async fn upload_whole<S>(
        &self,
        upload: Upload,
        descriptor: &Descriptor,
        content: S,
    ) -> Result<(), Error>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let mut put = content_call(Method::PUT, upload.ended(&descriptor.digest));
        put.headers
            .insert(CONTENT_LENGTH, HeaderValue::from(descriptor.size));
        self.upload(&put, content).await.map(drop)
    }

    /// Sends content of unknown size. The upload goes on: [`end_upload`](Self::end_upload) names the digest.
    ///
    /// # Errors
    /// As the registry or the connection says.
    pub async fn upload_stream<S>(&self, upload: Upload, content: S) -> Result<Upload, Error>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let patch = content_call(Method::PATCH, upload.url.into());
        Upload::at(&self.upload(&patch, content).await?)
    }

    /// Ends an upload whose content has been sent.
    ///
    /// # Errors
    /// As the registry or the connection says.
    pub async fn end_upload(&self, upload: Upload, digest: &Digest) -> Result<(), Error> {
        let mut put = content_call(Method::PUT, upload.ended(digest));
        put.headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let nothing = futures_util::stream::empty();
        self.upload(&put, nothing).await.map(drop)
    }

    /// Sends content that cannot be sent twice to an address in full, with the proof that earlier calls
    /// found to be wanted.
    async fn upload<S>(&self, call: &Call, content: S) -> Result<Response, Error>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let Some(endpoint) = self.inner.chosen.of_content() else {
            return Err(Error::Closed);
        };
        let registry = &self.inner.registry;
        let proof = match registry.challenge(&endpoint.base) {
            // Credentials are for the registry itself, not for wherever it keeps uploads.
            Some(challenge) if call.path.starts_with(&format!("{}/", endpoint.base)) => {
                self.proof(endpoint, &challenge, call).await?
            }
            _ => None,
        };
        let moved = Arc::new(Notify::new());
        let body = content.inspect({
            let moved = Arc::clone(&moved);
            move |_| moved.notify_one()
        });
        let client = registry.upload_client(endpoint).await?;
        let mut request = client.request(call.method.clone(), &call.path);
        request = request
            .headers(call.headers.clone())
            .body(Body::wrap_stream(body));
        if let Some(proof) = proof {
            request = request.header(AUTHORIZATION, proof);
        }
        let mut sent = Box::pin(request.send());
        let silence = registry.config().timeout.saturating_mul(PATIENCE);
        let outcome = loop {
            tokio::select! {
                outcome = &mut sent => break outcome,
                moved = tokio::time::timeout(silence, moved.notified()) => if moved.is_err() {
                    let text = "net/http: timeout awaiting response headers".to_owned();
                    let error = Error::Transport { text, retry: true };
                    return Err(error.during(call.verb(), &call.path));
                },
            }
        };
        let response = outcome.map_err(|error| {
            describe(&error, &endpoint.authority, endpoint.default_port)
                .during(call.verb(), &call.path)
        })?;
        success(response).await
    }
}

fn content_call(method: Method, address: String) -> Call {
    let mut call = pushing(method, address);
    call.headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    call
}
