//! Content on its way to a registry: blobs that it lacks, then the manifest that names them.

use std::io;

use arca_types::{Digest, Repository};
use bytes::Bytes;
use futures_util::Stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};

use crate::descriptor::Descriptor;
use crate::error::{Code, Error};
use crate::remote::{Access, Call, Remote};
use crate::upload::Upload;

/// What a registry did with the request to take a blob from another of its repositories.
#[derive(Debug)]
pub enum Mount {
    /// It took it.
    Mounted,
    /// It did not, and waits for the content.
    Begun(Upload),
}

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

    /// Asks the registry whether it is there at all: nothing else tells that before content is prepared.
    ///
    /// # Errors
    /// When it cannot be reached. That it refuses is no error here: what follows says it better.
    pub async fn ping(&self) -> Result<(), Error> {
        match self.call(&pushing(Method::GET, "/v2/".to_owned())).await {
            Err(error) if error.is_transport() => Err(error),
            _ => Ok(()),
        }
    }

    /// Lets the repository take a blob from another one of the same registry. Where it does not, an upload
    /// has begun.
    ///
    /// # Errors
    /// As the registry or the connection says.
    pub async fn mount_blob(&self, digest: &Digest, from: &Repository) -> Result<Mount, Error> {
        let path = format!("blobs/uploads/?mount={digest}&from={}", from.path());
        let mut call = pushing(Method::POST, self.path(&path));
        call.from = Some(from.path().to_owned());
        call.headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = self.call(&call).await?;
        if response.status() == StatusCode::CREATED {
            return Ok(Mount::Mounted);
        }
        Upload::at(&response).map(Mount::Begun)
    }

    /// Begins the upload of a blob.
    ///
    /// # Errors
    /// As the registry or the connection says.
    pub async fn begin_upload(&self) -> Result<Upload, Error> {
        let mut call = pushing(Method::POST, self.path("blobs/uploads/"));
        call.headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        Upload::at(&self.call(&call).await?)
    }

    /// Uploads a blob in one request.
    ///
    /// # Errors
    /// As the registry or the connection says. What was uploaded of it is dropped by the registry.
    pub async fn push_blob<S>(&self, descriptor: &Descriptor, content: S) -> Result<(), Error>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let upload = self.begin_upload().await?;
        self.upload_whole(upload, descriptor, content).await
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

pub(crate) fn pushing(method: Method, path: String) -> Call {
    Call {
        access: Access::Push,
        ..Call::new(method, path)
    }
}
