//! Content on its way to a registry: blobs that it lacks, then the manifest that names them.

use std::io;

use arca_types::{Digest, Repository};
use bytes::Bytes;
use futures_util::Stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, StatusCode};
use reqwest::{Body, Response, Url};

use crate::descriptor::Descriptor;
use crate::error::{Code, Error};
use crate::remote::{Access, Call, Remote};

impl Remote {
    /// Has the repository this blob?
    ///
    /// # Errors
    /// As the registry or the connection says; that there is none is no error.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let call = pushing(Method::HEAD, self.path(&format!("blobs/{digest}")));
        match self.call(&call).await {
            Ok(_) => Ok(true),
            // The answer to HEAD has no body that would say which 404 this is.
            Err(Error::ErrorBody { status: 404, .. }) => Ok(false),
            Err(Error::Bare(Code::BlobUnknown)) => Ok(false),
            Err(error) if error.code() == Some(Code::BlobUnknown) => Ok(false),
            Err(Error::Refused {
                code: Code::Unknown,
                ..
            }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets the repository take a blob from another one of the same registry. Returns whether it did.
    ///
    /// # Errors
    /// As the registry or the connection says.
    pub async fn mount_blob(&self, digest: &Digest, from: &Repository) -> Result<bool, Error> {
        let path = self.path(&format!(
            "blobs/uploads/?mount={digest}&from={}",
            from.path()
        ));
        let mut call = pushing(Method::POST, path);
        call.headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = self.call(&call).await?;
        Ok(response.status() == StatusCode::CREATED)
    }

    /// Uploads a blob in one request.
    ///
    /// # Errors
    /// As the registry or the connection says. What was uploaded of it is dropped by the registry.
    pub async fn push_blob<S>(&self, descriptor: &Descriptor, content: S) -> Result<(), Error>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let mut call = pushing(Method::POST, self.path("blobs/uploads/"));
        call.headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = self.call(&call).await?;
        let mut put = pushing(Method::PUT, upload_address(&response, &descriptor.digest)?);
        put.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        put.headers
            .insert(CONTENT_LENGTH, HeaderValue::from(descriptor.size));
        self.upload(&put, Body::wrap_stream(content)).await
    }

    /// Uploads a manifest or an index under a tag or its digest.
    ///
    /// # Errors
    /// As the registry or the connection says; [`Error::InvalidDigest`] when it understood another content.
    pub async fn push_manifest(
        &self,
        selector: &str,
        descriptor: &Descriptor,
        bytes: Bytes,
    ) -> Result<(), Error> {
        let mut call = pushing(Method::PUT, self.path(&format!("manifests/{selector}")));
        let kind = HeaderValue::try_from(&descriptor.media_type);
        let kind = kind
            .ok()
            .ok_or_else(|| Error::Endpoint(descriptor.media_type.clone()))?;
        call.headers.insert(CONTENT_TYPE, kind);
        call.body = Some(bytes);
        let response = self.call(&call).await?;
        let told = response.headers().get("docker-content-digest");
        let told = told
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if told.is_empty() || told == descriptor.digest.as_str() {
            return Ok(());
        }
        Err(Error::InvalidDigest(told.to_owned()))
    }
}

fn pushing(method: Method, path: String) -> Call {
    Call {
        access: Access::Push,
        ..Call::new(method, path)
    }
}

/// Where the registry wants the content: `Location`, with the digest added.
fn upload_address(response: &Response, digest: &Digest) -> Result<String, Error> {
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok());
    let location = location.unwrap_or_default();
    let url = response.url().join(location).ok();
    let mut url: Url = url.ok_or_else(|| Error::Endpoint(location.to_owned()))?;
    url.query_pairs_mut().append_pair("digest", digest.as_str());
    Ok(url.into())
}
